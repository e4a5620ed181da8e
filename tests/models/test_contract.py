"""What every row of the table of kinds must offer; a new kind is tested here by itself."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

import airscene
from airscene.config import Config
from airscene.data import Scenes
from airscene.kinds import KINDS, Kind, kind_of, make_objective
from airscene.models.base import Model, ModelConfig
from airscene.report.page import ReportData
from airscene.results.detections import Detections
from airscene.results.evaluation import evaluate, validate
from airscene.runs.config_file import load_config, save_config
from airscene.training.checkpoints import Position, load_checkpoint, load_model, save_checkpoint
from airscene.training.objectives import make_optimizer
from airscene.training.snapshots import take_view

BATCH, SMALL = 3, 8
HEIGHT, WIDTH = 9, 11


@pytest.fixture(params=KINDS)
def kind(request) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def config(kind) -> Config:
    """A run of the kind's default model, with every size made small."""
    default = kind.config()
    sizes = {field.name: getattr(default, field.name) for field in fields(default)}
    small = {k: min(v, SMALL) for k, v in sizes.items() if type(v) is int}
    return Config(model=replace(default, **small | {"height": HEIGHT, "width": WIDTH}))


@pytest.fixture
def model(config) -> Model:
    return make_objective(config).model


@pytest.fixture
def image(config) -> torch.Tensor:
    shape = BATCH, config.model.channels, HEIGHT, WIDTH
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def scenes(image) -> Scenes:
    return Scenes(image, torch.tensor([0, 1, 2]))


def noise_of(objective) -> torch.Tensor:
    return torch.randn(BATCH, *objective.noise_shape, generator=torch.Generator().manual_seed(1))


def test_a_row_is_found_by_its_name_and_by_its_configuration(kind, config, model):
    assert KINDS[kind.name] is kind
    assert kind_of(config.model) is kind_of(model.config) is kind
    assert model.config == config.model and isinstance(config.model, ModelConfig)


def test_all_parameters_have_finite_gradients(config, image):
    objective = make_objective(config)
    objective.schedule(0.5)
    loss, scalars = objective(image, noise_of(objective))
    loss.backward()
    assert loss.isfinite() and scalars["elbo"].isfinite()
    for name, parameter in objective.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_the_shapes_are_those_of_the_images(model, image, kind):
    model.infer(image)
    model.infer(image, sample=True)
    reconstruction, (canvas, count) = model.reconstruct(image), model.generate(BATCH)
    assert reconstruction.shape == canvas.shape == image.shape
    assert count is not None or kind.detect is None
    assert count is None or count.shape == (BATCH,)


def test_the_bounds_are_finite_and_of_each_image(model, image):
    for bound in (model.elbo(image), model.log_likelihood(image, 2)):
        assert bound.shape == (BATCH,) and bound.isfinite().all()
        assert not bound.requires_grad


def test_detections_are_of_each_image_and_of_as_many_steps_as_are_asked_for(kind, model, image):
    if kind.detect is None:
        return
    for steps in (None, 2):
        found = kind.detect(model, image, steps)
        assert isinstance(found, Detections)
        assert found.boxes.shape == (BATCH, steps or model.config.steps, 4)


def test_the_evaluation_and_the_validation_have_the_figures_of_the_kind(kind, model, scenes):
    counts = kind.detect is not None
    assert ("count_accuracy" in validate(model, scenes)) == counts
    table = evaluate(model, scenes, samples=2)
    assert ("count_accuracy" in table) == counts and {"elbo", "bound"} <= table.keys()


def test_pictures_are_of_the_scenes_and_findings_are_fields_of_a_report(kind, model, scenes):
    assert take_view(model, scenes).reconstruction.shape == scenes.image.shape
    findings = kind.findings(model, scenes)
    assert findings.keys() <= {field.name for field in fields(ReportData)}


def test_memory_grows_with_the_canvas(config):
    small = config.model
    large = replace(small, height=90, width=110)
    assert 0 < small.kept_bytes < large.kept_bytes
    assert 0 < small.pass_bytes(2) < large.pass_bytes(2)


def test_the_size_to_lower_and_the_idle_settings_are_fields(config):
    names = {field.name for field in fields(config.model)}
    assert {config.model.size_field, *config.model.idle()} <= names


def test_on_a_larger_canvas_only_windows_change(config):
    larger = config.model.enlarged(2.0)
    assert type(larger) is type(config.model)
    assert (larger.height, larger.width) == (config.model.height, config.model.width)


def test_a_configuration_comes_back_from_disk(config, tmp_path):
    assert load_config(save_config(config, tmp_path / "config.json")) == config


def test_a_checkpoint_comes_back_from_disk(config, image, tmp_path):
    one, path = make_objective(config), tmp_path / "checkpoint.safetensors"
    optimizer = make_optimizer(one)
    one(image, noise_of(one))[0].backward()
    optimizer.step()
    save_checkpoint(path, one, optimizer, Position(step=1))
    other = make_objective(replace(config, seed=1))
    assert load_checkpoint(path, other, make_optimizer(other)) == Position(step=1)
    assert load_model(path, make_objective(config).model) == Position(step=1)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, msg=name)


def test_nothing_above_the_models_asks_for_a_class():
    package = Path(airscene.__file__).parent
    classes = [c.__name__ for kind in KINDS.values() for c in (kind.build, kind.config)]
    asks = re.compile(rf"isinstance\([^)]*\b({'|'.join(classes)})\b")
    above = [path for path in package.rglob("*.py") if path.parent.name != "models"]
    assert len(above) > 50
    assert [str(path) for path in above if asks.search(path.read_text())] == []
