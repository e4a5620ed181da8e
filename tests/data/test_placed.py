import torch

from airscene.data.placed import Placed

# scene 0: a bright object and a faint one that overlap in the middle; scene 1: a faint one
INK = torch.tensor([[[255, 200, 0, 40]], [[0, 100, 120, 0]], [[0, 0, 60, 0]]]).float()
PLACED = Placed(INK, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), scenes=3)
RED_AND_BLUE = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [1.0, 1.0, 1.0]])


def test_ink_adds_up():
    assert PLACED.total()[:, 0, 0].tolist() == [[255, 300, 120, 40], [0, 0, 60, 0], [0] * 4]
    total = PLACED.total(RED_AND_BLUE)
    assert total[0, :, 0].tolist() == [[255, 200, 0, 40], [0] * 4, [0, 100, 120, 0]]


def test_later_objects_are_painted_over_earlier_ones():
    behind = torch.full((3, 3, 1, 4), 0.5)
    found = PLACED.over(behind, RED_AND_BLUE)
    red, blue = 200 / 255, 100 / 255
    assert torch.allclose(found[0, :, 0, 0], torch.tensor([1.0, 0, 0]))
    middle = torch.tensor([0.5 * (1 - red) + red, 0.5 * (1 - red), 0.5 * (1 - red)])
    middle = middle * (1 - blue) + torch.tensor([0, 0, blue])
    assert torch.allclose(found[0, :, 0, 1], middle)
    assert torch.equal(found[2], behind[2]) and (behind == 0.5).all()
    white = PLACED.over(behind)
    assert torch.allclose(white[1, :, 0, 2], torch.tensor(0.5 + 0.5 * 60 / 255))


def test_masks_tell_the_foremost_or_the_strongest():
    assert PLACED.foremost()[:, 0].tolist() == [[1, 2, 2, 0], [0, 0, 1, 0], [0] * 4]
    assert PLACED.strongest()[:, 0].tolist() == [[1, 1, 2, 0], [0, 0, 1, 0], [0] * 4]
    assert PLACED.foremost().dtype == PLACED.strongest().dtype == torch.uint8


def test_what_is_seen_of_an_object():
    assert PLACED.seen(PLACED.foremost()).tolist() == [0.5, 1, 1]
    nothing = Placed(torch.zeros(1, 1, 4), torch.tensor([0]), torch.tensor([0]), scenes=1)
    assert nothing.seen(nothing.foremost()).tolist() == [0]


def test_scenes_without_objects():
    empty = Placed(INK[:0], *(torch.zeros(0, dtype=torch.long),) * 2, scenes=2)
    behind = torch.rand(2, 1, 1, 4)
    assert not empty.total().any() and not empty.foremost().any() and not empty.strongest().any()
    assert torch.equal(empty.over(behind), behind)
