import pytest
import torch

from airscene.data import Scenes
from airscene.training.snapshots import telling


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
    image = torch.tensor(lit, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 3, 4)
    assert telling(Scenes(image)).tolist() == chosen
