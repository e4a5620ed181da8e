import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from airscene import memory, passes
from airscene.config import Config
from airscene.data import SceneConfig
from airscene.errors import UserError
from airscene.estimators import ESTIMATORS
from airscene.kinds import make_objective
from airscene.memory import ACTIVATIONS, WEIGHTS, check_memory, training_bytes
from airscene.models.air_config import AIRConfig
from airscene.models.draw import DRAWConfig
from airscene.passes import check_pass, inference_batch
from airscene.presets import PRESETS

CPU = torch.device("cpu")
GB = 10**9


@pytest.fixture
def free(monkeypatch):
    """Sets how much memory is free, by the type of the device."""

    def setting(**sizes: float):
        for module in (memory, passes):
            monkeypatch.setattr(module, "free_bytes", lambda device: int(sizes[device.type]))

    return setting


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_into_8_gb(name, free):
    free(cpu=8 * GB)
    check_memory(PRESETS[name], CPU)
    check_memory(replace(PRESETS[name], data="mine"), CPU)


def test_a_default_machine_is_asked_for_its_memory():
    assert 10**8 < passes.free_bytes(CPU) < 10**14


@pytest.mark.parametrize("text", ["max", "9223372036854771712", "123456"])
def test_a_container_lowers_what_is_free(text, tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text(text + "\n")
    monkeypatch.setattr(passes, "LIMITS", (str(tmp_path / "memory.max"), str(tmp_path / "none")))
    limit = passes.free_bytes(CPU)
    assert limit == 123456 if text == "123456" else limit > 10**8


# a setting of absurd size, and the flag to lower
BIG = {
    "--training.batch": {"training": {"batch": 65_536}},
    "--model.steps": {"training": {"batch": 1}, "model": {"steps": 1000, "glimpse": 512}},
    "--model.lstm": {"model": {"lstm": 16_384}},
    "--model.hidden": {"model": {"hidden": 16_384, "feedback": "residual"}},
    "--scenes.train-size": {"scenes": {"train_size": 10_000_000}},
    "--scenes.test-size": {"scenes": {"test_size": 10_000_000}},
    "--training.validation-scenes": {"training": {"validation_scenes": 10_000_000}},
    "--scenes.canvas": {
        "scenes": {"canvas": (4096, 4096), "counts": (0, 100), "train_size": 1, "test_size": 1},
        "training": {"validation_scenes": 1, "batch": 1},
        "model": {"steps": 1, "lstm": 1},
    },
}


@pytest.mark.parametrize("flag", BIG)
def test_what_does_not_fit_names_the_flag_to_lower(flag, free):
    free(cpu=1 * GB)
    config = Config()
    for part, values in BIG[flag].items():
        config = replace(config, **{part: replace(getattr(config, part), **values)})
    told = rf"^this training needs about [\d,.]+ GB, of which .* GB; 1 GB are free: lower {flag}$"
    with pytest.raises(UserError, match=told):
        check_memory(config, CPU)


@pytest.mark.parametrize("model", [AIRConfig, DRAWConfig])
def test_the_largest_sizes_are_estimated_without_being_allocated(model):
    largest = {"steps": 1000, "height": 4096, "width": 4096, "lstm": 16_384, "channels": 16}
    config = Config(model=model(**largest), data="mine", estimator="relax")
    assert sum(training_bytes(config).values()) > 10**13


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_weights_are_counted_as_they_are(estimator):
    small = AIRConfig(height=9, width=9, glimpse=4, what=3, lstm=5, hidden=6)
    config = Config(model=small, data="mine", estimator=estimator)
    numbers = sum(weight.numel() for weight in make_objective(config).parameters())
    assert training_bytes(config)[WEIGHTS] == 16 * numbers
    samples = make_objective(config).samples
    one = training_bytes(replace(config, estimator="enumerate"))[ACTIVATIONS]
    assert training_bytes(config)[ACTIVATIONS] == samples * one


def test_the_canvas_of_composed_scenes_is_theirs_and_fresh_ones_are_not_kept():
    config = PRESETS["digits"]
    larger = replace(config, scenes=replace(config.scenes, canvas=(64, 64)))
    assert training_bytes(larger)[WEIGHTS] > training_bytes(config)[WEIGHTS]
    fresh = replace(config, training=replace(config.training, fresh=True))
    assert training_bytes(fresh)["training scenes"] == 0 < training_bytes(config)["training scenes"]


def test_colour_takes_three_times_the_memory():
    grey = training_bytes(PRESETS["digits"])
    scenes = replace(PRESETS["digits"].scenes, channels=3)
    colour = training_bytes(replace(PRESETS["digits"], scenes=scenes))
    assert colour[WEIGHTS] > grey[WEIGHTS]
    assert 2 < colour["test scenes"] / grey["test scenes"] < 3


def test_a_gpu_holds_the_model_and_the_training_scenes_and_the_host_the_scenes(free):
    config = PRESETS["digits"]
    needed = training_bytes(config)
    model = needed[WEIGHTS] + needed[ACTIVATIONS]
    gpu, scenes = torch.device("cuda"), sum(needed.values()) - model
    free(cuda=model + needed["training scenes"], cpu=scenes)
    check_memory(config, gpu)
    for lack in ({"cuda": 1, "cpu": 0}, {"cuda": 0, "cpu": 1}):
        free(
            cuda=model + needed["training scenes"] - lack["cuda"],
            cpu=scenes - lack["cpu"],
        )
        with pytest.raises(UserError, match="this training needs"):
            check_memory(config, gpu)


MEASURE = """
import json, sys, torch
from dataclasses import replace
from pathlib import Path
from airscene.presets import PRESETS
from airscene.kinds import make_objective
from airscene.training.objectives import make_optimizer

def peak():
    # not resource.ru_maxrss, which a child process takes over from its parent
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])

def train(config, batch):
    objective = make_objective(config)
    optimizer, c = make_optimizer(objective), config.model
    for _ in range(2):
        image = torch.rand(batch, c.channels, c.height, c.width)
        loss, _ = objective(image, torch.randn(batch, *objective.noise_shape))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

torch.set_num_threads(1)
config = PRESETS[sys.argv[1]]
train(replace(config, model=replace(config.model, height=8, width=8)), 1)
before = peak()
train(config, int(sys.argv[2]))
print(json.dumps(peak() - before))
"""


MEASURED = [("multi-mnist", 128), ("dair", 128), ("grid", 64), ("multi-dsprites", 32), ("draw", 32)]


@pytest.mark.parametrize(("name", "batch"), MEASURED)
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is read")
def test_the_estimate_is_within_twice_what_is_measured(name, batch):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, name, str(batch)], capture_output=True, check=True
    )
    config = replace(PRESETS[name], data="mine")
    config = replace(config, training=replace(config.training, batch=batch))
    assert 0.5 < sum(training_bytes(config).values()) / json.loads(done.stdout) < 2


# passes without gradients


def test_batches_shrink_with_steps_and_canvas_and_never_vanish():
    assert inference_batch(AIRConfig(), 3) == 256
    assert inference_batch(AIRConfig(), 3, batch=7) == 7
    many = AIRConfig(height=128, width=128)
    rows = inference_batch(many, 100)
    assert 1 < rows < 256 and rows * many.pass_bytes(100) <= passes.PASS
    assert inference_batch(AIRConfig(height=4096, width=4096), 1000) == 1
    assert inference_batch(DRAWConfig(), 40) == 256


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "draw"])
def test_the_presets_keep_their_batch(name):
    """Their evaluations draw noise batch by batch, so that a smaller one would change them."""
    assert inference_batch(PRESETS[name].model, PRESETS[name].model.steps) == 256


def test_steps_of_which_no_image_fits_are_refused(free):
    large = AIRConfig(height=2048, width=2048)
    free(cpu=4 * GB)
    check_pass(large, 20, CPU)
    with pytest.raises(UserError, match=r"^--max-objects 30 needs about 4\.5 GB .* lower it$"):
        check_pass(large, 30, CPU)


def test_scenes_on_the_largest_canvases_are_composed_few_at_a_time():
    config = replace(Config(), scenes=SceneConfig(canvas=(2048, 2048), train_size=1, test_size=1))
    assert training_bytes(config)["composing scenes"] < 2 * GB
