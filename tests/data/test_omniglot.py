import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from airscene.data import SceneConfig, load_composer
from airscene.data.omniglot import SIDE, read_drawings
from airscene.data.sources import omniglot
from airscene.errors import UserError
from omniglot_archives import AWAY, BAR, POST, put_omniglot, some_characters

SHARED = Path(__file__).parents[3] / "shared" / "data"
SIZES = {"scale_mean": 1.1, "scale_std": 0.025, "size": 50.0, "overlap": "any"}


def everything(alphabet: str, drawer: int) -> bool:
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put_omniglot(tmp_path, some_characters())


def scene_config(**changes) -> SceneConfig:
    return SceneConfig(**{"source": "omniglot", "counts": (1, 2), **SIZES, **changes})


def test_every_pixel_belongs_to_the_stroke_next_to_it(tmp_path):
    folder = put_omniglot(tmp_path, {"Greek/character01/0001_03": [POST, BAR]})
    (drawing,) = read_drawings(everything, folder)
    assert (drawing.alphabet, drawing.character, drawing.drawer) == ("Greek", "character01", 3)
    assert drawing.strokes.shape == (SIDE, SIDE)
    assert set(np.unique(drawing.strokes[29:32, 25:75])) == {2}  # the bar was drawn second
    assert set(np.unique(drawing.strokes[50:80, 49:52])) == {1}
    assert not drawing.strokes[60:, :40].any()


def test_a_drawing_that_is_in_both_sets_is_read_once(folder):
    assert len([*read_drawings(everything, folder)]) == len(some_characters())


def test_a_stroke_without_a_pixel_of_its_own_is_left_out(tmp_path):
    folder = put_omniglot(tmp_path, {"Greek/character01/0001_03": [BAR, AWAY, POST]})
    (drawing,) = read_drawings(everything, folder)
    assert set(np.unique(drawing.strokes)) == {0, 1, 2}


def test_drawers_and_alphabets_are_shared_out(folder):
    train, test = (omniglot.load(split, folder) for split in ("train", "test"))
    unseen = omniglot.load_unseen("test", folder)
    assert [len(some) for some in (train, test, unseen)] == [2, 2, 2]
    assert train.labels.tolist() == [0, 1]
    assert torch.equal(train.images, (train.strokes > 0) * 255)
    assert train.strokes.flatten(1).amax(1).tolist() == [1, 2]


def test_a_scene_is_a_character_whose_objects_are_strokes(folder):
    composer = load_composer(scene_config(shares=(0.25, 0.75)), "train", folder)
    scenes = composer.compose(400, torch.Generator().manual_seed(0), masks=True)
    assert scenes.count.float().mean().item() == pytest.approx(1.75, abs=0.1)
    assert scenes.image.shape == (400, 1, 50, 50)
    ink = scenes.image[:, 0] > 60
    assert ((scenes.masks > 0) == ink)[ink].float().mean() > 0.9
    assert torch.equal(scenes.masks.flatten(1).amax(1).long(), scenes.count)
    two = scenes.boxes[scenes.count == 2]
    bar, post = (two[:, k, 2:] - two[:, k, :2] for k in (0, 1))
    assert (bar[:, 0] > 4 * bar[:, 1]).all() and (post[:, 1] > 4 * post[:, 0]).all()
    assert ((two[:, 0, 3] - two[:, 1, 1]).abs() < 6).all()  # one size and place for all strokes
    assert len(two[:, 0, 0].unique()) > 3


def test_a_number_of_strokes_that_no_character_has(folder):
    with pytest.raises(UserError, match=r"--scenes\.counts names 3, but no picture"):
        load_composer(scene_config(counts=(1, 3)), "train", folder)


def test_missing_archives(tmp_path):
    with pytest.raises(UserError, match=r"no images_background_small1\.zip in .*--data-dir; put"):
        omniglot.load("train", tmp_path)


@pytest.mark.parametrize("name", ["images_background_small1.zip", "strokes_background_small2.zip"])
def test_an_archive_that_is_cut_short(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=f"{name} is damaged .*; replace it") as raised:
        omniglot.load("train", folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("images", b"no picture"),
        ("strokes", b"START\n1,x,2\nBREAK\n"),
        ("strokes", b"START\n"),
        ("strokes", b"\xff\xfe"),
    ],
)
def test_a_damaged_drawing(folder, what, content):
    ending = {"images": "png", "strokes": "txt"}[what]
    name = f"{what}_background_small1/Greek/character01/0001_01.{ending}"
    path = folder / f"{what}_background_small1.zip"
    with zipfile.ZipFile(path) as archive:
        kept = {inside: archive.read(inside) for inside in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for inside, own in (kept | {name: content}).items():
            archive.writestr(inside, own)
    with pytest.raises(
        UserError, match=rf"{what}_background_small1\.zip is damaged .*; replace it"
    ):
        omniglot.load("train", folder)


def test_a_drawing_without_its_strokes(folder):
    path = folder / "strokes_background_small1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("strokes_background_small1/empty.txt", "")
    with pytest.raises(UserError, match=r"strokes_background_small1\.zip is damaged"):
        omniglot.load("train", folder)


def test_archives_without_the_wanted_characters(tmp_path):
    folder = put_omniglot(tmp_path, {"Greek/character01/0001_03": [BAR]})
    with pytest.raises(UserError, match="no such characters"):
        omniglot.load_unseen("train", folder)


def test_the_official_archives():
    named = os.environ.get("AIRSCENE_DATA_DIR")
    folder = Path(named) if named else SHARED
    if not (folder / "omniglot").is_dir():
        pytest.skip("no Omniglot archives: set AIRSCENE_DATA_DIR")
    drawings = [*read_drawings(lambda alphabet, drawer: drawer == 20, folder)]
    assert len(drawings) == 242 and len({drawing.alphabet for drawing in drawings}) == 8
    balinese = [d.strokes.max() for d in drawings if d.alphabet == "Balinese"]
    assert len(balinese) == 24 and np.mean(balinese) < 2
