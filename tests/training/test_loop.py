import errno
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from airscene.errors import UserError
from airscene.estimators import EstimationConfig
from airscene.results import evaluation
from airscene.training import loop
from airscene.training.checkpoints import Position, read_checkpoint
from airscene.training.interrupt import Interrupt
from airscene.training.logging import Progress, read_metrics
from airscene.training.loop import CHECKPOINT, DivergedError

TRAIN = ("step", "seconds", "time", "images_per_second", "learning_rate", "prior_odds")
TRAIN = {*TRAIN, "train/elbo", "train/loss", "train/gradient_norm"}
VALIDATION = {"validation/elbo", "validation/count_accuracy"}


def state(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / CHECKPOINT)[0]


def step_of(folder: Path) -> int:
    return read_checkpoint(folder / CHECKPOINT)[1].step


def assert_same_state(first: Path, second: Path) -> None:
    one, other = state(first), state(second)
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def steps_logged(folder: Path) -> list[int]:
    return [row["step"] for row in read_metrics(folder)]


@pytest.fixture(params=["enumerate", "nvil", "rebar", "rws"])
def config(request, tiny):
    return replace(tiny, estimator=request.param)


@pytest.fixture
def straight(make_trainer, quiet, config, tmp_path) -> Path:
    """A run that nothing disturbed."""
    assert make_trainer("straight", config).run(quiet) == "done: 12 iterations"
    return tmp_path / "straight"


@pytest.mark.parametrize("stop", [1, 4, 5, 6, 11])
def test_a_run_stopped_anywhere_and_resumed_equals_one_that_was_not(
    make_trainer, quiet, before_step, press_ctrl_c, config, straight, run_folder, stop
):
    trainer = make_trainer(config=config)
    before_step(trainer, stop - 1, press_ctrl_c)
    assert trainer.run(quiet) == "interrupted"
    assert step_of(run_folder) == stop
    trainer = make_trainer(config=config)
    trainer.resume()
    assert trainer.run(quiet) == "done: 12 iterations"
    assert_same_state(run_folder, straight)
    assert untimed(run_folder) == untimed(straight)


def untimed(folder: Path) -> list[dict]:
    """The rows of the log without what no two sittings share."""
    clock = {"seconds", "time", "images_per_second"}
    return [{k: v for k, v in row.items() if k not in clock} for row in read_metrics(folder)]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import TINY
from dataclasses import replace
from airscene.runs import train_run
from airscene.training.loop import Trainer

plain = Trainer.train_step

def train_step(self):
    if self.position.step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self)

Trainer.train_step = train_step
train_run(replace(TINY, estimator=sys.argv[3]), Path(sys.argv[2]))
"""


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    make_trainer, quiet, config, straight, run_folder
):
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED, folder, str(run_folder), config.estimator]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    assert step_of(run_folder) == 6
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "seco')  # as far as the kill let it come
    trainer = make_trainer(config=config)
    trainer.resume()
    trainer.run(quiet)
    assert_same_state(run_folder, straight)
    assert steps_logged(run_folder) == [2, 4, 6, 8, 10, 12]


def test_a_finished_run_is_left_as_it_is(make_trainer, quiet, run_folder):
    make_trainer().run(quiet)
    before = state(run_folder), steps_logged(run_folder)
    trainer = make_trainer()
    trainer.resume()
    assert trainer.run(quiet) == "done: 12 iterations"
    assert all(torch.equal(value, before[0][name]) for name, value in state(run_folder).items())
    assert steps_logged(run_folder) == before[1]


def test_seeds_decide_the_weights(make_trainer, quiet, tiny, tmp_path):
    make_trainer("a", tiny).run(quiet)
    make_trainer("b", tiny).run(quiet)
    make_trainer("c", replace(tiny, seed=1)).run(quiet)
    assert_same_state(tmp_path / "a", tmp_path / "b")
    name = "weights.model.decoder.0.weight"
    assert not torch.equal(state(tmp_path / "a")[name], state(tmp_path / "c")[name])


def test_every_parameter_learns(make_trainer, quiet, config):
    trainer = make_trainer(config=config)
    before = {name: value.clone() for name, value in trainer.objective.named_parameters()}
    trainer.run(quiet)
    after = dict(trainer.objective.named_parameters())
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def test_rows_have_the_documented_keys(make_trainer, quiet, config, run_folder):
    make_trainer(config=config).run(quiet)
    own = {
        "enumerate": set(),
        "nvil": {"baseline_error"},
        "rebar": {"scale", "temperature", "logit_gradient_square"},
        "rws": {"effective_samples"},
    }
    extra = {f"train/{name}" for name in own[config.estimator]}
    for row in read_metrics(run_folder):
        validates = row["step"] % 6 == 0
        assert row.keys() == TRAIN | extra | (VALIDATION if validates else set())
        assert all(math.isfinite(value) for value in row.values())


def test_rows_follow_the_schedules(make_trainer, quiet, run_folder):
    make_trainer().run(quiet)
    row = read_metrics(run_folder)[2]  # written after step 6, whose progress was 5 of 11
    assert row["learning_rate"] == pytest.approx(10 ** (-3 + 5 / 11), rel=1e-6)
    assert row["prior_odds"] == pytest.approx(10 ** (-2 + 2 * 5 / 11), rel=1e-5)


@pytest.mark.parametrize("iterations", [1, 2, 7, 12])
def test_the_last_step_is_at_the_end_of_every_schedule(make_trainer, quiet, run_folder, iterations):
    odds = ((0.0, 0.01), (1.0, 1.0)) if iterations > 1 else ((0.0, 1.0),)
    rate = ((0.0, 1e-3), (1.0, 2e-5)) if iterations > 1 else ((0.0, 2e-5),)
    trainer = make_trainer(iterations=iterations, prior_odds=odds, learning_rate=rate)
    trainer.run(quiet)
    row = read_metrics(run_folder)[-1]
    assert row["step"] == iterations
    assert row["learning_rate"] == pytest.approx(2e-5) and row["prior_odds"] == pytest.approx(1.0)
    assert float(trainer.objective.model.log_odds) == pytest.approx(0.0, abs=1e-6)


def test_the_baseline_has_its_own_rate(make_trainer, tiny):
    estimation = EstimationConfig(baseline_rate=5.0)
    trainer = make_trainer(config=replace(tiny, estimator="nvil", estimation=estimation))
    trainer.train_step()
    model, baseline = (group["lr"] for group in trainer.optimizer.param_groups)
    assert baseline == pytest.approx(5 * model)


def test_the_temperature_follows_its_schedule(make_trainer, tiny):
    estimation = EstimationConfig(temperature=((0.0, 1.0), (1.0, 0.01)))
    config = replace(tiny, estimator="concrete", estimation=estimation)
    trainer = make_trainer(config=config, iterations=13)
    trainer.position = Position(6)
    assert float(trainer.train_step()["temperature"]) == pytest.approx(0.1)


def test_an_estimator_gets_as_many_samples_of_each_image_as_it_wants(make_trainer, tiny):
    estimation = EstimationConfig(samples=3)
    trainer = make_trainer(config=replace(tiny, estimator="iwae", estimation=estimation))
    image, noise = trainer.draw(0)
    assert len(image) == 8 and noise.shape[:2] == (8, 3)
    seen = []
    trainer.objective.estimator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    trainer.objective(image, noise)
    assert torch.equal(seen[0].scene.image, image.repeat_interleave(3, 0))
    assert len(seen[0].where.unflatten(0, (8, 3)).unique(dim=1)[0]) == 3


def test_validation_does_not_touch_the_training(make_trainer, quiet, tmp_path):
    make_trainer("seldom", validate_every=12).run(quiet)
    make_trainer("often", validate_every=1).run(quiet)
    assert_same_state(tmp_path / "seldom", tmp_path / "often")


def test_snapshots_are_taken_at_the_start_and_at_the_end(make_trainer, quiet, run_folder):
    make_trainer(snapshots=2).run(quiet)
    names = sorted(path.stem for path in (run_folder / "snapshots").iterdir())
    assert names == ["00000000", "00000010", "00000012"]


def test_the_second_ctrl_c_acts_as_usual(press_ctrl_c):
    with Interrupt() as interrupt:
        assert not interrupt.requested
        press_ctrl_c()
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()


def test_sigterm_asks_to_stop_too():
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.requested


def test_signals_act_as_before_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupt():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_ctrl_c_ends_training_at_once(
    make_trainer, quiet, before_step, press_ctrl_c, run_folder
):
    trainer = make_trainer()
    before_step(trainer, 8, lambda: (press_ctrl_c(), press_ctrl_c()))
    with pytest.raises(KeyboardInterrupt):
        trainer.run(quiet)
    assert step_of(run_folder) == 6


def timed(monkeypatch, each: float) -> None:
    """Lets every reading of the clock in the loop come so many seconds after the one before."""
    now = itertools.count(0.0, each)
    clock = SimpleNamespace(perf_counter=lambda: next(now), time=time.time)
    monkeypatch.setattr(loop, "time", clock)


def test_short_time_passes_the_whole_schedule(make_trainer, quiet, monkeypatch, run_folder):
    timed(monkeypatch, 1.0)  # of each step
    trainer = make_trainer(iterations=12, validate_every=6)
    odds = []
    reason = trainer.run(quiet, 4 / 60, lambda t: odds.append(t.scheduled["prior_odds"]))
    assert reason == "done: 4 iterations in place of 12" and step_of(run_folder) == 4
    assert odds == pytest.approx([0.01 ** (1 - part) for part in (0, 3 / 11, 6 / 11, 9 / 11)])
    assert [row["step"] for row in read_metrics(run_folder) if "validation/elbo" in row] == [4]
    assert {path.stem for path in (run_folder / "snapshots").iterdir()} == {
        "00000000",
        "00000004",
    }


def test_the_time_of_earlier_sittings_counts(
    make_trainer, quiet, monkeypatch, before_step, press_ctrl_c, run_folder
):
    timed(monkeypatch, 1.0)
    trainer = make_trainer(iterations=12)
    before_step(trainer, 1, press_ctrl_c)
    assert trainer.run(quiet, 4 / 60) == "interrupted"
    trainer = make_trainer(iterations=12)
    trainer.resume()
    assert trainer.position.seconds == 2 and trainer.position.scheduled == 6
    assert trainer.run(quiet, 4 / 60) == "done: 4 iterations in place of 12"


def test_enough_time_changes_nothing(make_trainer, quiet, run_folder, tmp_path):
    make_trainer("straight").run(quiet)
    assert make_trainer().run(quiet, minutes=1000) == "done: 12 iterations"
    assert_same_state(run_folder, tmp_path / "straight")


def test_the_number_of_steps_is_told(make_trainer, monkeypatch, capsys):
    timed(monkeypatch, 1.0)
    make_trainer(iterations=60).run(Progress(60), 30 / 60)
    told = " ".join(capsys.readouterr().err.split())
    assert "about 30 steps fit into 0.5 minutes of training; they pass the whole schedule" in told


def test_patience_ends_at_a_plateau(make_trainer, quiet, monkeypatch, run_folder):
    bounds = iter([1.0, 3.0, 2.0, 2.9, 4.0])
    monkeypatch.setattr(evaluation, "elbo", lambda *_: next(bounds))
    trainer = make_trainer(validate_every=2, patience=2)
    assert trainer.run(quiet) == "stopped: the bound has levelled off"
    assert step_of(run_folder) == 8


def test_without_patience_a_plateau_is_sat_out(make_trainer, quiet, monkeypatch):
    monkeypatch.setattr(evaluation, "elbo", lambda *_: 1.0)
    assert make_trainer(validate_every=1, patience=0).run(quiet) == "done: 12 iterations"


def assert_finite(folder: Path) -> None:
    assert all(value.isfinite().all() for value in state(folder).values())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("log_every", [2, 50])
def test_a_loss_that_is_not_finite_ends_training(
    make_trainer, quiet, before_step, run_folder, bad, log_every
):
    trainer = make_trainer(log_every=log_every)

    def spoil():
        plain = trainer.call

        def call(*inputs):
            loss, scalars = plain(*inputs)
            return loss * bad, scalars

        trainer.call = call

    before_step(trainer, 7, spoil)
    told = "--training.learning-rate or --training.clip; .*checkpoint.safetensors holds the last"
    with pytest.raises(DivergedError, match=told):
        trainer.run(quiet)
    assert step_of(run_folder) == 6
    assert_finite(run_folder)


def test_ctrl_c_does_not_save_a_diverged_state(
    make_trainer, quiet, before_step, press_ctrl_c, run_folder
):
    trainer = make_trainer(log_every=50)

    def spoil():
        next(trainer.objective.model.parameters()).data.fill_(math.nan)
        press_ctrl_c()

    before_step(trainer, 8, spoil)
    with pytest.raises(DivergedError):
        trainer.run(quiet)
    assert step_of(run_folder) == 6
    assert_finite(run_folder)


@pytest.mark.parametrize("validate_every", [4, 12])
def test_a_learning_rate_far_too_large_is_named(make_trainer, quiet, run_folder, validate_every):
    trainer = make_trainer(learning_rate=((0.0, 1.0),), validate_every=validate_every)
    with torch.no_grad():  # so that it takes a step or two and not many
        for weight in trainer.objective.parameters():
            weight.mul_(1e6)
    with pytest.raises(DivergedError, match=r"lower --training\.learning-rate") as caught:
        trainer.run(quiet)
    assert "nothing was saved yet" in str(caught.value)
    assert not (run_folder / CHECKPOINT).exists()


def test_rows_are_sound_json_when_training_diverges(make_trainer, quiet, run_folder):
    with pytest.raises(DivergedError):
        make_trainer(learning_rate=((0.0, 1.0),), validate_every=1, log_every=1).run(quiet)
    for line in (run_folder / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


class FullDisk:
    """A file whose disk has just become full."""

    def __init__(self, file):
        self.file = file

    def write(self, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        self.file.close()
        self.write("what was left")


def test_a_disk_full_of_rows_keeps_the_checkpoint(
    make_trainer, quiet, before_step, monkeypatch, run_folder
):
    trainer = make_trainer()
    enter = loop.Log.__enter__

    def enter_and_fill(log):
        enter(log)
        before_step(trainer, 7, lambda: setattr(log, "file", FullDisk(log.file)))
        return log

    monkeypatch.setattr(loop.Log, "__enter__", enter_and_fill)
    with pytest.raises(UserError, match=r"cannot write .*metrics.jsonl: No space left"):
        trainer.run(quiet)
    assert step_of(run_folder) == 6


class Broken(nn.Module):
    """What torch.compile gives where the compiler fails at the first call."""

    def forward(self, *inputs):
        raise BackendCompilerFailed(print, RuntimeError("no compiler\nat all"), None)


def test_training_goes_on_plainly_where_compiling_fails(make_trainer, quiet, monkeypatch, tmp_path):
    make_trainer("plain").run(quiet)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: Broken())
    with pytest.warns(UserWarning, match="torch.compile does not work here, so not used") as notes:
        make_trainer("compiled", compile="on").run(quiet)
    assert len(notes) == 1 and "\n" not in str(notes[0].message)
    assert_same_state(tmp_path / "plain", tmp_path / "compiled")


def test_an_error_of_the_model_is_not_taken_for_one_of_the_compiler(monkeypatch, make_trainer):
    def broken(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        make_trainer(compile="on").train_step()


@pytest.mark.parametrize(
    ("choice", "iterations", "compiles"),
    [("off", 10**6, False), ("on", 12, True), ("auto", 12, False), ("auto", 10**6, True)],
)
def test_auto_compiles_long_runs_on_a_cpu(monkeypatch, tiny, choice, iterations, compiles):
    monkeypatch.setattr(torch, "compile", lambda call, **_: call)
    settings = replace(tiny.training, compile=choice, iterations=iterations)
    plain = nn.Identity()
    made = loop.compiled(plain, settings, torch.device("cpu"))
    assert (made is not plain) == compiles


def test_a_machine_without_a_compiler_trains_all_the_same(run_folder):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from dataclasses import replace; from conftest import TINY\n"
        "from airscene.runs import train_run\n"
        "settings = replace(TINY.training, compile='on')\n"
        "print(train_run(replace(TINY, training=settings), Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(run_folder)]
    cache = str(run_folder.parent / "cache")
    nothing = {"CXX": "/nonexistent", "TORCHINDUCTOR_CACHE_DIR": cache}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | nothing)
    assert done.stdout == "done: 12 iterations\n", done.stderr
    assert "torch.compile does not work here" in done.stderr
    assert "Traceback" not in done.stderr


TWO = """
import sys
import time
from dataclasses import replace
from pathlib import Path
import torch
from accelerate import Accelerator
sys.path.insert(0, sys.argv[1])
from conftest import TINY
from airscene.runs import make_sources, train_run
from airscene.training.loop import Trainer

out = Path(sys.argv[2])
meet = Accelerator.wait_for_everyone

def meet_and_lag(accelerator):
    meet(accelerator)
    time.sleep(accelerator.process_index / 2)

Accelerator.wait_for_everyone = meet_and_lag
accelerator = Accelerator(cpu=True)
config = replace(TINY, training=replace(TINY.training, batch=4, clip=1e9))
trainer = Trainer(config, out, make_sources(config, None, "cpu")[1], accelerator)
loss = accelerator.reduce(trainer.train_step()["loss"], "mean")
assert accelerator.num_processes == 2
if accelerator.is_main_process:
    names = trainer.objective.named_parameters()
    torch.save({"loss": loss} | {name: value.grad for name, value in names}, out / "step.pt")
reason = train_run(config, out / "run")
print(f"{accelerator.process_index}: {reason}", flush=True)
torch.distributed.destroy_process_group()
"""


def test_two_processes_are_one_with_the_doubled_batch(make_trainer, tmp_path):
    """torchrun starts two processes that share each batch of 8 scenes.

    Each takes one step on its 4 scenes, and the first writes down the loss, averaged over both,
    and the gradients that it was left with. They must be those of the one process here, which
    takes the same step on all 8. Both then train a run together, to see that neither waits for the
    other for ever and that the files are written once. The second process lags behind at each
    meeting, so that it finds the folder as the first has changed it.
    """
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch += ["--nproc_per_node", "2"]
    arguments = [str(script), str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run([*launch, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(
        ["0:", "done:", "12", "iterations", "1:", "done:", "12", "iterations"]
    )

    alone = make_trainer(batch=8, clip=1e9)
    expected = {"loss": alone.train_step()["loss"]}
    expected |= {name: value.grad for name, value in alone.objective.named_parameters()}
    found = torch.load(tmp_path / "step.pt")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-4), name
    assert steps_logged(tmp_path / "run") == [2, 4, 6, 8, 10, 12]
