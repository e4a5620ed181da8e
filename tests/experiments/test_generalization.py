import json
import math
from dataclasses import replace

import numpy as np
import pytest

from airscene.errors import UserError
from airscene.experiments import unseen
from airscene.experiments.generalization import (
    GeneralizationExperiment,
    Split,
    carry_out,
    full_experiment,
    tasks_of,
    training_of,
)
from airscene.experiments.generalization_tables import accuracy, confusion, mean_accuracy, summary
from airscene.experiments.unseen import ExamConfig
from airscene.models.draw import DRAWConfig


@pytest.fixture
def experiment(tiny) -> GeneralizationExperiment:
    """Two splits, three models, two steps of training."""
    draw = DRAWConfig(steps=2, height=16, width=16, latent=2, lstm=8)
    models = {
        "AIR": tiny,
        "DAIR": replace(tiny, model=replace(tiny.model, feedback="residual")),
        "DRAW": replace(tiny, model=draw),
    }
    splits = {
        "extrapolation": Split((0, 1), (2,), (16, 16), 4),
        "many": Split((0, 1), (2, 3), (32, 32), 5, ("AIR", "DAIR"), 1),
    }
    exam = ExamConfig(scenes=6, stage_scenes=4, samples=2, bound_scenes=3, labelled=40)
    return GeneralizationExperiment(models, splits, 1, stages=(0.5, 1.0), exam=exam)


def run_with(inferred: dict[str, list[int]]) -> dict:
    """A piece with what scenes of each count were counted as."""
    return {
        "counts": {
            n: {"inferred": {"model": row}, "bound": float(int(n)), "elbo": 0.0}
            for n, row in inferred.items()
        }
    }


def test_it_fills_its_folder_and_goes_on_without_computing_again(
    experiment, out, serial, monkeypatch
):
    printed = carry_out(experiment, out, None, serial)
    results = json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)
    assert {name: [*models] for name, models in results["runs"].items()} == {
        "extrapolation": ["AIR", "DAIR", "DRAW"],
        "many": ["AIR", "DAIR"],
    }
    for name in ("extrapolation.png", "many.png", "many-by-count.png", "tables.md"):
        assert (out / name).stat().st_size > 0 and name in printed
    (run,) = results["runs"]["extrapolation"]["DRAW"]
    assert {*run["counts"]["2"]["inferred"]} == {"linear", "mlp"}
    assert [row["step"] for row in run["curve"]] == [1, 2]
    (run,) = results["runs"]["many"]["AIR"]
    assert sum(run["counts"]["3"]["inferred"]["model"]) == 6
    assert run["counts"]["2"]["bound"] is not None  # N is two
    assert run["counts"]["3"]["bound"] is None and "elbo" not in run["curve"][0]
    weights = sorted(path.name for path in (out / "many" / "AIR" / "seed-0").glob("stage*"))
    assert weights == ["stage-1.safetensors"]

    monkeypatch.setattr(unseen, "train_reference", pytest.fail)
    assert carry_out(experiment, out, None, serial) == printed


def test_ctrl_c_keeps_what_is_finished(experiment, out, serial, monkeypatch):
    done = []
    train = unseen.train_reference

    def interrupted(task):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task)
        train(task)

    monkeypatch.setattr(unseen, "train_reference", interrupted)
    with pytest.raises(KeyboardInterrupt):
        carry_out(experiment, out, None, serial)
    assert len(list(out.rglob("result.json"))) == 2


def test_more_seeds_are_added_and_other_settings_refused(experiment, out, serial):
    small = replace(experiment, splits={"extrapolation": experiment.splits["extrapolation"]})
    carry_out(small, out, None, serial)
    carry_out(replace(small, seeds=2), out, None, serial)
    folders = {path.parent.relative_to(out).as_posix() for path in out.rglob("result.json")}
    assert folders == {
        *(f"extrapolation/{model}/seed-{seed}" for model in ("AIR", "DAIR") for seed in (0, 1)),
        "extrapolation/DRAW/seed-0",
    }
    with pytest.raises(UserError, match="other settings"):
        carry_out(replace(small, stages=(1.0,)), out, None, serial)


def test_seeds_come_one_after_the_other_and_draw_last(out):
    keys = [*tasks_of(full_experiment(), out, None)]
    assert keys[:3] == [
        ("extrapolation", "AIR", 0),
        ("extrapolation", "DAIR", 0),
        ("interpolation", "AIR", 0),
    ]
    assert [key[1] for key in keys].index("DRAW") == len(keys) - 2
    assert sum(key[:2] == ("interpolation", "DAIR") for key in keys) == 5


def test_a_larger_canvas_leaves_windows_as_large_as_they_were():
    experiment = full_experiment()
    config = training_of(experiment.models["DAIR"], experiment.splits["many"], 3)
    before = experiment.models["DAIR"].model.scale_prior[0]
    window = 80 / (1 + math.exp(-config.model.scale_prior[0]))
    assert window == pytest.approx(50 / (1 + math.exp(-before)), abs=0.05)
    assert config.scenes.canvas == (80, 80) == (config.model.height, config.model.width)
    assert config.seed == 3 and config.scenes.counts == (0, 1, 2)


def test_accuracies_are_shares_of_each_count():
    run = run_with({"0": [10, 0, 0], "1": [1, 9, 0], "2": [0, 4, 6]})
    assert accuracy(run, "model", 2) == 0.6
    assert mean_accuracy(run, "model", (0, 1)) == pytest.approx(0.95)


def test_the_summary_tells_means_errors_and_the_lowest_seed():
    runs = [run_with({"0": [10, 0], "1": [n, 10 - n]}) for n in (0, 2)]
    split = {"seen": (0,), "unseen": (1,)}
    text = summary({"config": {"splits": {"x": split}}, "runs": {"x": {"AIR": runs}}})
    row = text.splitlines()[-1]
    assert "90.00 % ± 10.00" in row and "80.00 %" in row and "100.00 %" in row


def test_the_confusion_is_of_all_seeds_together():
    runs = [run_with({"1": [0, 10]}), run_with({"1": [5, 5]})]
    cells = confusion({"AIR": runs}).splitlines()[-1].split("|")
    assert [cell.strip() for cell in cells[2:5]] == ["1", "25.0", "75.0"]


def test_a_probe_may_answer_far_more_than_any_scene_holds(experiment, out, serial):
    """Its answers take as many columns as they need."""
    rows = [np.bincount([1, 7], minlength=3).tolist(), [1, 1, 0]]
    runs = [run_with({"1": row}) for row in rows]
    assert "7" in confusion({"DRAW": runs}).splitlines()[0]
