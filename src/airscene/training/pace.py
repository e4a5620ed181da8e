"""How a training passes through its schedules: a step at a time, or faster where time is short."""

import math
from dataclasses import dataclass

from airscene.training.checkpoints import Position


@dataclass(frozen=True)
class Pace:
    """The length of a training, in steps and in time; whichever ends earlier decides.

    Attributes:
        iterations: steps of the whole schedule, each of which is one step of training at most.
        limit: seconds that training may take, over all sittings.
    """

    iterations: int
    limit: float = math.inf

    def after_step(self, before: Position, seconds: float) -> Position:
        """The position after one more step.

        A step takes a share of the time that is left, and passes the same share of the schedule
        that is left, or one step of it, whichever is more.

        Args:
            before: the position before the step.
            seconds: time spent training by its end, over all sittings.

        >>> Pace(100, limit=10.0).after_step(Position(), 2.0).scheduled
        20.0
        >>> Pace(100).after_step(Position(), 2.0).scheduled
        1.0
        """
        left, spent = self.limit - before.seconds, seconds - before.seconds
        share = spent / left if left > spent else 1.0
        passed = max(1.0, share * (self.iterations - before.scheduled))
        scheduled = min(self.iterations, before.scheduled + passed)
        return Position(before.step + 1, seconds, skipped=max(0.0, scheduled - (before.step + 1)))

    def progress(self, position: Position) -> float:
        """Where the next step is on the schedules, in [0, 1]; the last one is at 1."""
        return min(1.0, position.scheduled / max(1, self.iterations - 1))

    def is_over(self, position: Position) -> bool:
        """Whether the whole schedule is done."""
        return position.scheduled >= self.iterations

    def expected_steps(self, position: Position, step_seconds: float) -> int:
        """How many steps the training will have in all, at so many seconds a step."""
        by_steps = self.iterations - position.scheduled
        by_time = (self.limit - position.seconds) / max(step_seconds, 1e-9)
        return position.step + max(1, round(min(by_steps, by_time)))


def passes(marks: set[int], before: Position, after: Position) -> bool:
    """Whether a step of training passed one of some steps of the schedule."""
    return any(before.scheduled < mark <= after.scheduled for mark in marks)
