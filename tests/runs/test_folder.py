"""Whose a folder is, what in it is a run's, and how one run takes the place of another."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from airscene.errors import UserError
from airscene.models.draw import DRAWConfig
from airscene.report.page import FIGURES
from airscene.runs import load_run, train_run
from airscene.runs.folder import INCOMING, LOCK, check_folder, finish_replacing, own_files, owned
from airscene.training.loop import DivergedError, Trainer


def tree(folder: Path) -> dict[str, bytes]:
    """All files under a folder, hidden ones too, with their content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def interrupt_at(monkeypatch, step: int, happen) -> None:
    """Lets something happen before a training's step."""
    plain = Trainer.train_step

    def train_step(self):
        if self.position.step == step:
            happen()
        return plain(self)

    monkeypatch.setattr(Trainer, "train_step", train_step)


# what is a run's


def test_every_file_of_a_run_is_its_own(run):
    assert {str(path.relative_to(run)) for path in own_files(run)} == {*tree(run)}


FOREIGN = (
    "notes.txt",
    "config.json.bak",
    "figures/mine.png",
    "figures/deep/bound.png",
    "snapshots/holiday.npz",
    "snapshots/1.npz",
    "tensorboard/notes.txt",
    "deep/config.json",
)


def add_foreign(folder: Path) -> None:
    for name in FOREIGN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_overwriting_touches_nothing_but_the_runs_files(run, tiny):
    add_foreign(run)
    train_run(replace(tiny, seed=1), run, overwrite=True)
    assert all((run / name).read_text() == name for name in FOREIGN)
    assert load_run(run).config.seed == 1


def test_a_folder_of_other_files_may_be_trained_into(tmp_path, tiny):
    add_foreign(tmp_path)
    train_run(tiny, tmp_path, overwrite=True)
    assert all((tmp_path / name).read_text() == name for name in FOREIGN)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "report.html",
        "metrics.jsonl",
        "checkpoint.safetensors",
        "evaluation.json",
        f"figures/{FIGURES[0]}",
        "snapshots/00000010.npz",
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_of_no_run_is_not_overwritten(tmp_path, tiny, name, overwrite):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"somebody": "else"}')
    before = tree(tmp_path)
    with pytest.raises(UserError, match=f"holds {name}, which belongs to no run"):
        train_run(tiny, tmp_path, overwrite=overwrite)
    assert tree(tmp_path) == before


def test_a_damaged_run_can_be_overwritten(run, tiny):
    (run / "config.json").write_text("{")
    with pytest.raises(UserError, match="holds a run; add --resume or --overwrite"):
        train_run(tiny, run)
    train_run(tiny, run, overwrite=True)
    assert load_run(run).position.step == 4


# one run takes the place of another


def test_the_old_run_stays_until_the_new_one_has_a_checkpoint(run, tiny, monkeypatch):
    before = tree(run)
    seen = []
    interrupt_at(monkeypatch, 1, lambda: seen.append({k: tree(run).get(k) for k in before}))
    train_run(replace(tiny, seed=1), run, overwrite=True)
    assert seen == [before]
    assert load_run(run).config.seed == 1 and not (run / INCOMING).exists()


def test_what_the_new_run_does_not_have_is_gone(run, tiny):
    assert (run / "snapshots").exists()
    (run / "report.html").write_text("of the old run")
    settings = replace(tiny.training, snapshots=0)
    train_run(replace(tiny, training=settings), run, overwrite=True)
    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "checkpoint.safetensors",
        "metrics.jsonl",
        "tensorboard",
    }
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert len([*(run / "tensorboard").iterdir()]) == 2  # a folder that moved is opened again


def diverge():
    raise DivergedError("the loss is not finite")


def no_memory():
    raise MemoryError


def ctrl_c_twice():
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("happen", "error"),
    [(diverge, DivergedError), (no_memory, MemoryError), (ctrl_c_twice, KeyboardInterrupt)],
)
def test_a_new_run_that_fails_before_its_first_checkpoint_costs_nothing(
    run, tiny, monkeypatch, happen, error
):
    before = tree(run)
    interrupt_at(monkeypatch, 1, happen)
    with pytest.raises(error):
        train_run(replace(tiny, seed=1), run, overwrite=True)
    assert tree(run) == before


def test_ctrl_c_saves_the_new_run_in_place_of_the_old(run, tiny, monkeypatch):
    interrupt_at(monkeypatch, 0, lambda: signal.raise_signal(signal.SIGINT))
    assert train_run(replace(tiny, seed=1), run, overwrite=True) == "interrupted"
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="stopped at 25% of its schedule"):
        loaded = load_run(run)
    assert loaded.config.seed == 1 and loaded.position.step == 1
    assert train_run(replace(tiny, seed=1), run, resume=True) == "done: 4 iterations"


@pytest.mark.parametrize("moved", range(5))
def test_replacing_can_be_killed_anywhere(run, tiny, tmp_path, monkeypatch, moved):
    """The next process finishes what a killed one began, whichever file it had come to."""
    new = tmp_path / "new"
    train_run(replace(tiny, seed=1), new)
    new.rename(run / INCOMING)
    plain, calls = Path.replace, []

    def killed(self, target):
        if len(calls) == moved:
            raise SystemExit
        calls.append(target)
        return plain(self, target)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Path, "replace", killed)
        finish_replacing(run)
    loaded = load_run(run)
    assert loaded.config.seed == 1 and loaded.position.step == 4
    assert not (run / INCOMING).exists()


def test_what_a_killed_training_left_is_removed(run, tiny):
    (run / INCOMING).mkdir()
    (run / INCOMING / "config.json").write_text("{}")
    before = load_run(run).weights
    assert not (run / INCOMING).exists() and load_run(run).weights == before


# refusals change nothing

REFUSED = {
    "another size of data": lambda run: (run / "config.json").write_text(
        (run / "config.json").read_text().replace('"what": 4', '"what": 5')
    ),
    "a damaged checkpoint": lambda run: (run / "checkpoint.safetensors").write_bytes(b"damaged"),
    "damaged metrics": lambda run: (run / "metrics.jsonl").write_text("{\n{}\n"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_resume_leaves_the_run_as_it_was(run, kind):
    REFUSED[kind](run)
    config = load_config_of(run)
    before = tree(run)
    with pytest.raises(UserError):
        train_run(config, run, resume=True)
    assert tree(run) == before


def test_a_run_of_the_last_release_which_names_no_kind_goes_on(run):
    values = json.loads((run / "config.json").read_text())
    assert values["model"].pop("kind") == "air"
    (run / "config.json").write_text(json.dumps(values))
    assert train_run(load_config_of(run), run, resume=True) == "done: 4 iterations"
    assert json.loads((run / "config.json").read_text())["model"]["kind"] == "air"


def test_a_run_does_not_go_on_with_another_kind_of_model(run, tiny):
    other = replace(tiny, model=DRAWConfig(height=16, width=16))
    with pytest.raises(UserError, match=r"--model\.kind is air there and draw here"):
        train_run(other, run, resume=True)


def load_config_of(run: Path):
    from airscene.runs.config_file import load_config

    return load_config(run / "config.json")


def test_a_checkpoint_beyond_the_end_is_refused(run):
    text = (run / "config.json").read_text().replace('"iterations": 4', '"iterations": 3')
    (run / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"is of step 4, beyond the 3 of config\.json"):
        train_run(load_config_of(run), run, resume=True)


def test_resuming_needs_a_run(tmp_path, tiny):
    with pytest.raises(UserError, match="holds no run; check --out"):
        train_run(tiny, tmp_path / "mistyped", resume=True)
    assert [*tmp_path.iterdir()] == []


# one owner a folder

HOLD = """
import sys, time
from pathlib import Path
from airscene.runs.folder import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    """Another process that has the folder `run`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "owned\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_training_in_a_folder_is_refused_and_told_whose_it_is(owner, tmp_path, tiny):
    before = tree(tmp_path)
    with pytest.raises(UserError, match=f"is in use by process {owner.pid} on "):
        train_run(tiny, tmp_path / "run")
    assert tree(tmp_path) == before


def test_a_lock_whose_owner_was_killed_stops_nobody(owner, tmp_path, tiny):
    owner.kill()
    owner.wait()
    assert (tmp_path / "run" / LOCK).exists()
    assert train_run(tiny, tmp_path / "run") == "done: 4 iterations"
    assert not (tmp_path / "run" / LOCK).exists()


def test_within_a_process_a_folder_has_one_owner_too(tmp_path):
    out = tmp_path / "run"
    with owned(out), pytest.raises(UserError, match=f"process {os.getpid()} on"), owned(out):
        pass


def test_both_flags_at_once_are_refused(run, tiny):
    with pytest.raises(UserError, match="give one of them"):
        check_folder(run, tiny, resume=True, overwrite=True)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def circle(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [Path.mkdir, pipe, circle])
@pytest.mark.parametrize("name", ["checkpoint.safetensors", "report.html", "figures/bound.png"])
def test_what_is_no_file_is_not_written_over(run, tiny, name, make):
    (run / name).unlink(missing_ok=True)
    (run / name).parent.mkdir(exist_ok=True)
    make(run / name)
    for resume in (True, False):
        with pytest.raises(UserError, match="where a run writes a file; move it"):
            train_run(tiny, run, resume=resume, overwrite=not resume)


def test_a_link_in_the_place_of_a_folder_may_lead_to_one(run, tiny, tmp_path):
    (run / "figures").rename(tmp_path / "pictures") if (run / "figures").exists() else None
    (tmp_path / "pictures").mkdir(exist_ok=True)
    (run / "figures").symlink_to(tmp_path / "pictures")
    assert train_run(tiny, run, overwrite=True) == "done: 4 iterations"
