import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from airscene.config import Config, TrainingConfig
from airscene.data import SceneConfig, Scenes, compose_split, save_scenes
from airscene.errors import UserError
from airscene.models.air_config import AIRConfig
from airscene.results.metrics import count_confusion
from airscene.runs import (
    check_folder,
    differences,
    evaluate_run,
    load_run,
    make_sources,
    report_run,
    save_evaluation,
    train_run,
)
from airscene.runs import test_scenes as held_out_scenes
from airscene.runs.config_file import load_config
from airscene.training.streams import FixedScenes, FreshScenes

TINY = Config(
    scenes=SceneConfig(canvas=(16, 16), size=9.0, train_size=64, test_size=32),
    model=AIRConfig(steps=2, glimpse=6, what=4, lstm=16, hidden=16, sigma=0.3),
    training=TrainingConfig(
        iterations=4, batch=8, validate_every=2, validation_scenes=16, snapshots=0, compile="off"
    ),
)


@pytest.fixture(scope="module")
def grey(tmp_path_factory) -> Path:
    """A run trained on composed scenes, which no test may touch."""
    out = tmp_path_factory.mktemp("grey")
    train_run(TINY, out)
    return out


@pytest.fixture(scope="module")
def colour(tmp_path_factory) -> Path:
    """A run trained on ten colour images of 12x20 pixels."""
    folder = tmp_path_factory.mktemp("colour")
    image = torch.randint(0, 256, (10, 3, 12, 20), dtype=torch.uint8)
    data = save_scenes(Scenes(image), folder / "x.npz")
    train_run(replace(TINY, data=str(data)), folder / "run")
    return folder / "run"


def test_the_canvas_is_settled_by_the_data(grey, colour):
    model = load_config(grey / "config.json").model
    assert (model.channels, model.height, model.width) == (1, 16, 16)
    model = load_config(colour / "config.json").model
    assert (model.channels, model.height, model.width) == (3, 12, 20)


def test_a_loaded_run_knows_itself(grey):
    run = load_run(str(grey))
    assert run.path == grey and run.config.model.steps == 2
    assert run.position.step == 4 and not run.model.training


@pytest.mark.parametrize("shape", [(5, 16, 16), (5, 1, 16, 16)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_grey_arrays_are_inferred(grey, shape, dtype):
    images = np.random.default_rng(0).random(shape)
    images = (images * 255).astype(dtype) if dtype == np.uint8 else images.astype(dtype)
    found = load_run(grey).infer(images)
    assert found.count.shape == (5,) and found.boxes.shape == (5, 2, 4)
    assert torch.allclose(found.count_probs.sum(-1), torch.ones(5))


def test_bytes_and_floats_of_the_same_image_agree(grey):
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16), dtype=np.uint8)
    run = load_run(grey)
    assert torch.allclose(run.infer(images).count_probs, run.infer(images / 255).count_probs)


def test_colour_arrays_and_tensors_are_inferred(colour):
    images = np.random.default_rng(0).random((4, 3, 12, 20))
    run = load_run(colour)
    found = run.infer(images)
    assert found.reconstruction.shape == (4, 3, 12, 20)
    assert torch.equal(run.infer(torch.from_numpy(images)).count_probs, found.count_probs)


def test_more_objects_can_be_allowed_than_in_training(grey):
    found = load_run(grey).infer(np.zeros((3, 16, 16)), max_objects=5)
    assert found.count_probs.shape == (3, 6) and found.boxes.shape == (3, 5, 4)


@pytest.mark.parametrize("shape", [(16, 16), (2, 16, 17), (2, 3, 16, 16), (2, 16, 16, 1)])
def test_arrays_of_another_shape_are_refused(grey, shape):
    with pytest.raises(UserError, match=r"images have shape"):
        load_run(grey).infer(np.zeros(shape))


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="name the folder of a run"):
        load_run(tmp_path)


def test_scenes_are_the_same_for_every_seed_only_in_validation():
    (_, first), (_, second) = (
        make_sources(replace(TINY, seed=seed), None, "cpu") for seed in (0, 1)
    )
    assert torch.equal(first.validation.image, second.validation.image)
    assert isinstance(first.stream, FixedScenes) and isinstance(second.stream, FixedScenes)
    assert not torch.equal(first.stream.scenes.image, second.stream.scenes.image)


def test_validation_and_test_scenes_differ():
    validation = make_sources(TINY, None, "cpu")[1].validation
    test = compose_split(TINY.scenes, "test", 0)
    assert not torch.equal(validation.image, test.image[: len(validation)])


def test_fresh_scenes_are_composed_on_the_way():
    config = replace(TINY, training=replace(TINY.training, fresh=True))
    assert isinstance(make_sources(config, None, "cpu")[1].stream, FreshScenes)


def test_a_tenth_of_the_own_images_is_held_out(tmp_path):
    image = torch.arange(20, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
    data = save_scenes(Scenes(image), tmp_path / "x.npz")
    _, sources = make_sources(replace(TINY, data=str(data)), None, "cpu")
    held = {int(image.max()) for image in sources.validation.image}
    trained = {int(image.max()) for image in sources.stream.scenes.image}
    assert len(held) == 2 and held | trained == set(range(20)) and not held & trained


def test_large_images_are_shrunk(tmp_path):
    data = save_scenes(
        Scenes(torch.randint(0, 256, (3, 1, 256, 100), dtype=torch.uint8)), tmp_path / "x.npz"
    )
    with pytest.warns(UserWarning, match="resized to 128x50"):
        config, _ = make_sources(replace(TINY, data=str(data)), None, "cpu")
    assert (config.model.height, config.model.width) == (128, 50)


def test_a_small_n_is_warned_of():
    with pytest.warns(UserWarning, match=r"--model.steps 1 .* will be counted as 1"):
        make_sources(replace(TINY, model=replace(TINY.model, steps=1)), None, "cpu")


def test_differences_are_named_but_for_the_canvas():
    saved = {"seed": 0, "model": {"what": 2, "scale_prior": 3, "height": 10}}
    assert differences(saved, saved | {"model": saved["model"] | {"height": 20}}) == []
    given = {"seed": 1, "model": {"what": 2, "scale_prior": 4, "height": 10}}
    assert differences(saved, given) == [
        "--seed is 0 there and 1 here",
        "--model.scale-prior is 3 there and 4 here",
    ]


def test_settings_that_only_one_has_are_differences_too():
    """As those of AIR and of DRAW."""
    assert differences({"model": {"what": 2}}, {"model": {"read": 5}}) == [
        "--model.what is 2 there and None here",
        "--model.read is None there and 5 here",
    ]


def test_a_folder_with_other_files_may_be_trained_into(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    check_folder(tmp_path, TINY, resume=False, overwrite=False)


def test_the_saved_configuration_is_the_resolved_one(grey):
    values = json.loads((grey / "config.json").read_text())
    assert values["model"]["height"] == 16 and values["seed"] == 0


WRONG = {
    "elbo": ["x", [1.0], {}, float("nan"), 10**400],
    "scenes": [None, -1, 0.5, 2**60],
    "count_histogram": [None, 3, [], [-1], [[1]], [0.5], [10**30]],
    "count_confusion": [None, [1], [[1], [2]], [[1, 2], [3]], [["x"]], [[10**30]]],
    "weights": [None, 1],
}


CHANGES = [{name: value} for name, values in WRONG.items() for value in values]


@pytest.mark.parametrize("change", [None, *CHANGES], ids=lambda change: str(change)[:40])
def test_a_damaged_evaluation_is_made_anew_for_the_report(grey, tmp_path, change, monkeypatch):
    monkeypatch.setattr("airscene.runs.results.write_report", lambda data, path: data.evaluation)
    folder = shutil.copytree(grey, tmp_path / "run")
    run = load_run(folder)
    sound = evaluate_run(run, held_out_scenes(run)[:8])
    assert {*WRONG} - {"count_confusion"} <= {*sound}
    text = "{" if change is None else json.dumps(sound | change)
    (folder / "evaluation.json").write_text(text)
    made = report_run(run, held_out_scenes(run))
    assert made == json.loads((folder / "evaluation.json").read_text())
    assert made["data"] == "held-out" and made["scenes"] == 32


@pytest.mark.parametrize("counts", [[0, 0, 0], [0, 1, 2], [0, 2, 5]])
def test_the_report_shows_the_evaluation_that_was_saved(grey, tmp_path, monkeypatch, counts):
    """Whatever is counted: a table of counts has more columns than rows where too many are."""
    monkeypatch.setattr("airscene.runs.results.write_report", lambda data, path: data.evaluation)
    run = load_run(shutil.copytree(grey, tmp_path / "run"))
    scenes = held_out_scenes(run)[:8]
    confusion = count_confusion(torch.tensor([0, 1, 1]), torch.tensor(counts)).tolist()
    saved = evaluate_run(run, scenes) | {"count_confusion": confusion, "scenes": 7}
    save_evaluation(run, saved)
    assert report_run(run, scenes) == saved


def test_scenes_of_another_size_than_the_models_are_refused(grey, tmp_path):
    folder = shutil.copytree(grey, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    config["scenes"]["canvas"] = [20, 16]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"\(1, 20, 16\); its model takes \(1, 16, 16\); restore"):
        held_out_scenes(load_run(folder))


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1])
def test_arrays_out_of_range_are_refused(grey, value):
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        load_run(grey).infer(np.full((1, 16, 16), value))


@pytest.mark.parametrize("most", [0, -1, 1001, 10**12])
def test_a_largest_count_out_of_range_is_refused(grey, most):
    with pytest.raises(UserError, match="--max-objects is"):
        load_run(grey).infer(np.zeros((1, 16, 16)), max_objects=most)


def test_loading_and_evaluating_leave_the_global_random_state_alone(grey):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run = load_run(grey)
    evaluate_run(run, held_out_scenes(run)[:8])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(grey, tmp_path, value):
    folder = shutil.copytree(grey, tmp_path / "run")
    path = folder / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    tensors = load_file(path)
    tensors["weights.model.decoder.0.bias"][0] = value
    save_file(tensors, path, about)
    with pytest.raises(UserError, match=r"NaN or infinite numbers in decoder\.0\.bias; train"):
        load_run(folder)
