"""Objects sorted by their codes: what kinds are found, and which objects are like no other."""

import numpy as np
import pytest
import torch

from airscene.core.networks import normal
from airscene.data.contrast import Contrast
from airscene.models.objects import Objects
from airscene.models.whole import WholeAIR
from airscene.models.whole_config import WholeConfig
from airscene.results.gallery import SHOWN, gallery, outliers, sort_kinds, spread

SIZES = (60, 30, 20)


@pytest.fixture
def codes() -> np.ndarray:
    """Three groups of codes, then two that are far from all."""
    random = np.random.default_rng(0)
    centres = np.array([[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]).repeat(SIZES, 0)
    far = [[9.0, 9, 9], [-9, -9, 9]]
    return np.concatenate([centres + 0.3 * random.standard_normal(centres.shape), far])


def test_groups_of_codes_are_kinds_and_the_largest_comes_first(codes):
    kinds = sort_kinds(codes[:-2])
    ends = np.cumsum(SIZES)
    expected = [set(range(end - size, end)) for size, end in zip(SIZES, ends, strict=True)]
    assert [set(kind.tolist()) for kind in kinds] == expected


def test_a_kind_goes_from_its_middle_outwards(codes):
    (first, *_) = sort_kinds(codes[:-2])
    away = np.linalg.norm(codes[first] - codes[first].mean(0), axis=1)
    assert (np.diff(away) >= -1e-9).all()


def test_outliers_are_far_from_all_others(codes):
    found = outliers(codes)
    assert {*found[:2].tolist()} == {len(codes) - 2, len(codes) - 1} and len(found) == SHOWN


def test_few_objects_are_one_kind(codes):
    assert [len(kind) for kind in sort_kinds(codes[:3])] == [3]


def test_a_row_shows_the_first_and_the_last():
    assert spread(np.arange(100))[[0, -1]].tolist() == [0, 99] and len(spread(np.arange(5))) == 5


class Known(WholeAIR):
    """Finds objects of side 8 with made-up codes at known places of any picture."""

    places = torch.tensor([[10.5, 12.5], [30.5, 20.5], [2.5, 20.5]])

    def explain_whole(self, picture, strip=1024) -> Objects:
        number = len(self.places)
        window = torch.cat([self.places, torch.full((number, 1), 8.0)], 1)
        q = normal(torch.zeros(number, 3), torch.ones(number, 3))
        row, logit = torch.zeros(number, dtype=torch.long), torch.ones(number)
        paint, corner = torch.zeros(number, 1, 4, 4), torch.zeros(number, 2, dtype=torch.long)
        return Objects(row, logit, q, q, window, window, window, paint, corner)


def test_each_object_is_shown_in_the_middle_of_its_square_unless_the_border_cuts_it():
    contrast = Contrast(6.0, "bright", (1.0, 1.0, 1.0))
    model = Known(WholeConfig(glimpse=4, what=3, hidden=4, contrast=contrast))
    picture = torch.zeros(1, 40, 40)
    picture[0, 12, 10], picture[0, 20, 30] = 0.5, 1.0
    found = gallery(model, [picture])
    assert found is not None and found.titles == ["kind 1: 2"]
    (row,) = found.rows
    middle = model.config.region // 2
    assert sorted(row[:, 0, middle, middle].tolist()) == [0.5, 1.0]
    assert gallery(model, []) is None
