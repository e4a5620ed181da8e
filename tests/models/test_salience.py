import pytest
import torch

from airscene.models.salience import Salience

CANVAS, REDUCED = (90, 70), (43, 31)


@pytest.fixture(params=[False, True], ids=["light", "surfaces"])
def salience(request, double) -> Salience:
    torch.manual_seed(0)
    return Salience(2, CANVAS, REDUCED, opaque=request.param)


def test_a_part_of_the_map_is_what_the_whole_map_has_there(salience):
    """At the borders of the map too."""
    pictures = torch.randn(5, 2, *CANVAS)
    whole, field = salience.of(pictures), salience.field(pictures)
    corner = torch.tensor([[0, 0], [0, 7], [13, 7], [13, 0], [6, 4]])
    part = salience.around(field, corner, (9, 9))
    for image, (row, column) in enumerate(corner.tolist()):
        there = whole[image, :, row : row + 9, column : column + 9]
        torch.testing.assert_close(part[image], there, rtol=0, atol=1e-12)


@pytest.mark.parametrize("patch", [(1, 1), (8, 11), (30, 30), CANVAS])
def test_what_is_renewed_under_a_patch_is_as_if_all_were_computed_anew(salience, patch):
    pictures, changed = torch.randn(6, 2, *CANVAS), torch.randn(6, 2, *CANVAS)
    most = torch.tensor(CANVAS) - torch.tensor(patch)
    share = torch.tensor([[0, 0], [1, 1], [0, 1], [1, 0], [0.4, 0.3], [0.7, 0.9]])
    corner = (share * most).long()
    after = pictures.clone()
    for image, (y, x) in enumerate(corner.tolist()):
        place = (image, slice(None), slice(y, y + patch[0]), slice(x, x + patch[1]))
        after[place] = changed[place]
    found = salience.renewed(salience.field(pictures), after, corner, patch)
    for one, other in zip(found, salience.field(after), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
