import os

import numpy as np
import pytest
import torch

from airscene.data import Scenes
from airscene.errors import UserError
from airscene.report.figures import View
from airscene.report.findings import telling
from airscene.training.snapshots import load_snapshots, load_view, save_view


@pytest.mark.parametrize(
    ("lit", "chosen"),
    [
        ([0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1], [0, 2, 3, 5, 6, 7, 8, 9]),
        ([1] * 9, [0, 1, 2, 3, 4, 5, 6, 7]),
        ([0, 1, 0, 0], [0, 1, 2, 3]),
        ([0] * 9, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_few_of_the_shown_scenes_are_empty(lit, chosen):
    image = torch.full((len(lit), 1, 3, 4), 0.5)
    image[:, 0, 0, 0] += 0.5 * torch.tensor(lit)
    assert telling(Scenes(image)).tolist() == chosen
    noise = torch.rand_like(image)
    assert telling(Scenes(noise, torch.tensor(lit))).tolist() == chosen


@pytest.fixture
def path(tmp_path):
    """A view of two scenes."""
    image, windows = np.zeros((2, 1, 3, 4)), np.zeros((2, 1, 4))
    view = View(image, image, windows, np.zeros(2, dtype=int))
    return save_view(view, tmp_path / "snapshots" / "00000010.npz")


def test_a_view_without_whole_counts_is_refused(path):
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"count": np.zeros(2)})
    with pytest.raises(UserError, match="whole numbers of objects"):
        load_view(path)


def test_a_pipe_among_snapshots_is_left_out(path):
    os.mkfifo(path.with_name("00000011.npz"))
    with pytest.warns(UserWarning, match="00000011"):
        assert len(load_snapshots(path.parents[1])) == 1
