import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from airscene.errors import UserError
from airscene.estimators import ESTIMATORS
from airscene.experiments import estimators, learning, reproduce
from airscene.experiments.estimators import (
    carry_out,
    equal_budget,
    full_experiment,
    median_curve,
    quick_experiment,
)
from airscene.training.checkpoints import read_checkpoint
from airscene.training.loop import DivergedError


def times_of(folder: Path) -> dict[Path, int]:
    """When each file that a computation leaves was written."""
    computed = ("reference", "variance", "runs")
    files = [path for name in computed for path in (folder / name).rglob("*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in [folder / "times.json", *files]}


def test_it_fills_its_folder_and_goes_on_without_computing_again(everything, out, capsys, serial):
    printed = carry_out(everything, out, None, serial)
    told = capsys.readouterr().out.splitlines()
    assert sum("seed 0: " in line for line in told) == len(ESTIMATORS)
    names = {path.name for path in out.iterdir()}
    pieces = {"config.json", "times.json", "variance.json", "reference", "variance", "runs"}
    assert names == pieces | {"results.json", "tables.md", "learning.png", "variance.png"}
    results = json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)
    for part in ("times", "variance", "runs"):
        assert list(results[part]) == list(ESTIMATORS)
    assert all(name in printed for name in ESTIMATORS)
    assert printed.splitlines()[-1] == str(out / "variance.png")
    assert "step 1:" in (out / "runs" / "rws" / "seed-0" / "log.txt").read_text()

    before, page = times_of(out), (out / "tables.md").read_text()
    assert carry_out(everything, out, None, serial) == printed
    assert times_of(out) == before
    assert (out / "tables.md").read_text() == page
    assert capsys.readouterr().out == ""


def test_what_was_removed_is_computed_again_and_nothing_else(two, out, serial):
    carry_out(two, out, None, serial)
    before = times_of(out)
    lost = [out / "variance" / "reinforce.json", out / "runs" / "enumerate" / "seed-0"]
    values = [lost[0].read_text(), json.loads((lost[1] / "result.json").read_text())]
    lost[0].unlink()
    (lost[1] / "result.json").unlink()
    carry_out(two, out, None, serial)
    changed = {path for path, time in times_of(out).items() if before.get(path) != time}
    assert lost[0] in changed and lost[1] / "result.json" in changed
    assert all(path == lost[0] or path.is_relative_to(lost[1]) for path in changed)
    again = json.loads((lost[1] / "result.json").read_text())
    assert lost[0].read_text() == values[0]
    assert again["bound"] == values[1]["bound"] and again["curve"] == values[1]["curve"]


def test_ctrl_c_keeps_what_is_finished(two, out, serial, monkeypatch):
    trained = []

    def interrupted(config, folder, *arguments, **options):
        trained.append(config.estimator)
        return "interrupted"

    with monkeypatch.context() as patch:
        patch.setattr(learning, "train_run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            carry_out(two, out, None, serial)
    assert trained == ["enumerate"] and not list(out.rglob("result.json"))
    before = times_of(out)
    carry_out(two, out, None, serial)
    kept = {path for path, time in times_of(out).items() if before.get(path) == time}
    assert kept == {path for path in before if "runs" not in path.parts}


def test_a_diverged_run_is_a_result(two, out, serial, monkeypatch):
    def diverges(*arguments, **options):
        raise DivergedError("the loss is not finite at step 1")

    monkeypatch.setattr(learning, "train_run", diverges)
    carry_out(two, out, None, serial)
    result = json.loads((out / "runs" / "reinforce" / "seed-0" / "result.json").read_text())
    assert result["failed"] == "the loss is not finite at step 1"
    assert result["count_accuracy"] is None and result["curve"] == []
    assert "| reinforce |  0 of 1 |   0.00 % |" in (out / "tables.md").read_text()


def test_another_experiment_is_refused_and_nothing_lost(two, out, serial):
    carry_out(two, out, None, serial)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"--out .* other settings \(rounds\); name another"):
        carry_out(replace(two, rounds=2), out, None, serial)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_more_seeds_add_to_what_is_there(two, out, serial):
    carry_out(two, out, None, serial)
    before = times_of(out)
    carry_out(replace(two, seeds=2), out, None, serial)
    after = times_of(out)
    assert {path: after[path] for path in before} == before
    assert len(list(out.rglob("result.json"))) == 4
    assert json.loads((out / "config.json").read_text())["seeds"] == 2


def test_a_damaged_config_is_told(two, out, serial):
    out.mkdir()
    (out / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        carry_out(two, out, None, serial)


def test_the_reference_holds_the_prior_of_its_stages(two, out, serial):
    carry_out(two, out, None, serial)
    stages = sorted((out / "reference").glob("stage-*.safetensors"))
    assert len(stages) == 3
    odds = [float(read_checkpoint(path)[0]["weights.model.log_odds"]) for path in stages]
    assert odds[0] == odds[1] < 0 and odds[2] == 0  # of two steps, the last is at the end


def test_every_estimator_gets_the_time_of_enumerate(two):
    base = replace(two.base, training=replace(two.base.training, iterations=1000))
    times = {"enumerate": 100.0, "rebar": 200.0, "iwae": 1e9}
    budgets = {name: equal_budget(base, name, times) for name in times}
    steps = {name: config.training.iterations for name, config in budgets.items()}
    assert steps == {"enumerate": 1000, "rebar": 500, "iwae": 1}
    assert all(config.estimator == name for name, config in budgets.items())
    assert {config.training.batch for config in budgets.values()} == {base.training.batch}


def test_settings_of_the_experiments():
    full, quick = full_experiment(), quick_experiment()
    assert (full.base.scenes.source, full.seeds) == ("mnist", 5)
    assert (quick.base.scenes.source, quick.seeds) == ("digits", 1)
    assert quick.quick and not full.quick


def test_flags_choose_the_experiment(out, monkeypatch):
    called = []
    monkeypatch.setattr(estimators, "carry_out", lambda *arguments: called.append(arguments))
    reproduce("estimators", out, None, seeds=3, quick=True)
    (arguments,) = called
    assert arguments[:3] == (replace(quick_experiment(), seeds=3), out, None)


def test_the_median_curve_is_over_the_runs_that_came_so_far():
    rows = [{"step": 50, "seconds": 5.0 + k, "count_accuracy": 0.2 * k} for k in range(3)]
    longer = [rows[2], {"step": 100, "seconds": 12.0, "count_accuracy": 0.9}]
    seconds, accuracy = median_curve(
        [{"curve": [rows[0]]}, {"curve": [rows[1]]}, {"curve": longer}]
    )
    assert np.allclose(seconds, [6, 12]) and np.allclose(accuracy, [0.2, 0.9])
    assert [len(part) for part in median_curve([{"curve": []}])] == [0, 0]
