"""The user's pictures: what is held out stays held out, and a change is told."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from airscene.data import Scenes, save_scenes
from airscene.errors import UserError
from airscene.runs import load_record, load_run, own_scenes, train_run
from airscene.runs.pictures import split_pictures

from .conftest import save_picture


def values(scenes: Scenes) -> list[int]:
    """What each picture of one value is made of."""
    return sorted(scenes.image.flatten(1).amax(1).tolist())


def test_a_tenth_is_held_out_and_the_rest_is_trained_on(own):
    split = split_pictures(own)
    held, trained = values(split.held_out), values(split.train)
    assert len(held) == 2 and sorted(held + trained) == [10 * k for k in range(20)]


def test_names_and_their_order_decide_nothing(own, pictures, tmp_path):
    before = split_pictures(own)
    other = tmp_path / "other"
    other.mkdir()
    for k, path in enumerate(sorted(pictures.iterdir())):
        shutil.copy(path, other / f"{(7 * k) % 20:02d}-renamed.png")
    after = split_pictures(replace(own, data=str(other)))
    assert after.record == before.record
    assert torch.equal(after.train.image, before.train.image)


def test_the_seed_decides_what_is_held_out(own):
    held = {tuple(values(split_pictures(replace(own, seed=k)).held_out)) for k in range(5)}
    assert len(held) > 1


def test_equal_pictures_are_on_the_same_side(own, pictures):
    for k in range(20):
        shutil.copy(pictures / f"{k:02d}.png", pictures / f"copy-{k}.png")
    split = split_pictures(own)
    assert not {*values(split.held_out)} & {*values(split.train)}
    assert len(split.held_out) == 4


def test_pictures_that_are_all_equal_cannot_be_split(own, pictures):
    for path in pictures.iterdir():
        save_picture(path, 7)
    with pytest.raises(UserError, match="at least two that differ"):
        split_pictures(own)


@pytest.fixture
def trained(own, tmp_path):
    """A run on the pictures."""
    train_run(own, tmp_path / "run")
    return tmp_path / "run"


CHANGES = {
    "added first": lambda folder: save_picture(folder / "00-first.png", 255),
    "added last": lambda folder: save_picture(folder / "zz.png", 255),
    "removed": lambda folder: (folder / "00.png").unlink(),
    "edited": lambda folder: save_picture(folder / "10.png", 255),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_after_a_change_no_picture_that_was_trained_on_is_held_out(trained, pictures, kind):
    run, record = load_run(trained), load_record(trained)
    before = values(own_scenes(run))
    CHANGES[kind](pictures)
    with pytest.warns(UserWarning) if kind != "removed" or 0 in before else no_warning():
        after = values(own_scenes(run))
    assert {*after} <= {*before} and len(record.held_out) == 2


def no_warning():
    """A removed picture of the training is missed by nobody."""
    import contextlib

    return contextlib.nullcontext()


@pytest.mark.parametrize("kind", CHANGES)
def test_a_run_does_not_go_on_with_other_pictures(own, trained, pictures, kind):
    CHANGES[kind](pictures)
    with pytest.raises(UserError, match=r"have changed since .* [01] are new and [01] are gone"):
        train_run(own, trained, resume=True)


def test_renamed_and_moved_pictures_are_the_same(own, trained, pictures, tmp_path):
    moved = tmp_path / "moved"
    pictures.rename(moved)
    (moved / "00.png").rename(moved / "zero.png")
    assert train_run(replace(own, data=str(moved)), trained, resume=True).startswith("done")
    run = load_run(trained)
    assert run.config.data == str(moved) and len(own_scenes(run)) == 2


def test_the_held_out_pictures_are_found_where_they_were_moved(trained, pictures, tmp_path):
    run = load_run(trained)
    before = values(own_scenes(run))
    pictures.rename(tmp_path / "moved")
    assert values(own_scenes(run, tmp_path / "moved")) == before


def test_other_pictures_are_not_taken_for_the_held_out_ones(trained, tmp_path):
    (tmp_path / "others").mkdir()
    save_picture(tmp_path / "others" / "x.png", 255)
    with pytest.raises(UserError, match="holds none of the pictures that"):
        own_scenes(load_run(trained), tmp_path / "others")


DAMAGE = ["", "[]", "{}", '{"train": [], "held_out": [], "white": null}']
DAMAGE += ['{"train": [1], "held_out": ["a"], "white": null}', '{"train": 1}']


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_record_is_refused(trained, text):
    (trained / "pictures.json").write_text(text)
    with pytest.raises(UserError, match=r"pictures\.json"):
        own_scenes(load_run(trained))


def test_a_run_without_a_record_says_what_to_do(trained):
    (trained / "pictures.json").unlink()
    with pytest.raises(UserError, match=r"evaluate on other pictures by --data, or train anew"):
        own_scenes(load_run(trained))


def test_truth_goes_with_its_picture(tiny, tmp_path):
    count = torch.arange(20) % 3
    image = (10 * torch.arange(20)).byte().view(20, 1, 1, 1).expand(-1, 1, 16, 16)
    path = save_scenes(Scenes(image, count), tmp_path / "x.npz")
    split = split_pictures(replace(tiny, data=str(path)))
    for scenes in (split.train, split.held_out):
        assert torch.equal(scenes.count, (scenes.image[:, 0, 0, 0].long() // 10) % 3)


@pytest.mark.parametrize("shape", [(1000, 1), (1, 1000), (2, 500)])
def test_pictures_that_become_too_thin_are_refused(tiny, tmp_path, shape):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8))
    with pytest.raises(UserError, match=r"the shorter side must have 4: cut or pad them"):
        split_pictures(replace(tiny, data=str(tmp_path / "x.npy")))
