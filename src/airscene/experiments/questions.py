"""What is asked of scenes: sums and orders of their digits, from the true labels."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from airscene.data import Scenes
from airscene.errors import UserError

LARGEST = 9  # digit


@dataclass(frozen=True)
class Question:
    """A question to scenes of so many digits.

    Attributes:
        title: as tables and figures name it.
        digits: how many digits each scene holds.
        answers: how many answers there are.
        answer: the right answers (M,), from the digits of each scene from left to right, (M, K).
    """

    title: str
    digits: int
    answers: int
    answer: Callable[[Tensor], Tensor]

    def answers_of(self, scenes: Scenes) -> Tensor:
        """The right answers, int64 from 0 on, shape (M,).

        Raises:
            UserError: some scenes do not hold as many digits as are asked about.
        """
        return self.answer(digits_of(scenes, self.digits))


def digits_of(scenes: Scenes, number: int) -> Tensor:
    """The digits of scenes from left to right, by the middles of their true boxes, (M, K).

    Args:
        scenes: scenes with their truth.
        number: how many digits each must hold, K.

    Raises:
        UserError: some scenes hold another number of digits.

    >>> import torch
    >>> boxes = torch.tensor([[[30.0, 0, 40, 9], [5, 0, 15, 9]]])
    >>> scenes = Scenes(torch.zeros(1, 1, 50, 50), torch.tensor([2]), boxes, torch.tensor([[7, 3]]))
    >>> digits_of(scenes, 2)
    tensor([[3, 7]])
    """
    if scenes.count is None or scenes.boxes is None or scenes.labels is None:
        raise UserError("these scenes have no truth; give scenes with count, boxes and labels")
    if not (scenes.count == number).all():
        raise UserError(f"some scenes do not hold {number} digits; give --scenes.counts {number}")
    middle = scenes.boxes[:, :number, 0] + scenes.boxes[:, :number, 2]
    return scenes.labels.gather(1, middle.argsort(dim=1, stable=True))


def ascending(digits: Tensor) -> Tensor:
    """Whether each digit (M, K) is larger than the one to its left: 1 or 0, shape (M,).

    >>> import torch
    >>> ascending(torch.tensor([[3, 7], [7, 3], [4, 4]]))
    tensor([1, 0, 0])
    """
    return (digits.diff(dim=1) > 0).all(1).long()


def total(digits: Tensor) -> Tensor:
    """The sum of the digits (M, K), shape (M,)."""
    return digits.sum(1)


QUESTIONS = {
    "sum": Question("sum of two digits", 2, 2 * LARGEST + 1, total),
    "order": Question("two digits ascend from left to right", 2, 2, ascending),
    "five": Question("sum of five digits", 5, 5 * LARGEST + 1, total),
}
"""By the name that results have."""
