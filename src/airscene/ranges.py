"""Ranges of numbers: stated beside a field, shown by --help, checked before anything is allocated.

A field of a frozen dataclass states its range in its annotation, and the dataclass checks all of
its fields when it is made:

    @dataclass(frozen=True)
    class ModelConfig:
        steps: Annotated[int, *within(1, 1000)] = 3

        def __post_init__(self):
            check_ranges(self, "--model.")
"""

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from numbers import Integral, Real
from types import NoneType
from typing import Annotated, Any

import tyro

from airscene.errors import UserError


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included; NaN lies in no range.

    >>> 3 in Range(1, 3), 0 in Range(1, 3), float("nan") in Range(1, 3)
    (True, False, False)
    >>> str(Range(1, 100_000))
    'between 1 and 100,000'
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"between {_plain(self.low)} and {_plain(self.high)}"


@dataclass(frozen=True)
class Ranges:
    """The ranges of a field's numbers: of one number, or in turn of those that follow its flag."""

    in_turn: tuple[Range, ...]

    def __str__(self) -> str:
        return ", ".join(f"{_plain(some.low)} to {_plain(some.high)}" for some in self.in_turn)


NAMES = {Integral: "whole number", Real: "number"}

SEED = Range(0, 2**32 - 1)  # what torch and numpy take alike


def within(low: float, high: float) -> tuple[Any, ...]:
    """What to put into `Annotated`, for a number or a tuple of numbers that share a range.

    Args:
        low: the least value.
        high: the greatest value.
    """
    return in_turn(Range(low, high))


def in_turn(*ranges: Range) -> tuple[Any, ...]:
    """What to put into `Annotated`, for a tuple whose numbers take turns with these ranges.

    >>> Prior = Annotated[tuple[float, float], *in_turn(Range(-20, 20), Range(0.1, 10))]
    """
    found = Ranges(ranges)
    hint = tyro.conf.arg(help_behavior_hint=lambda default: f"(default: {default}; {found})")
    return found, hint


def check_value(flag: str, value: float, allowed: Range) -> None:
    """Refuses a number outside a range.

    Args:
        flag: as it is typed, `--n`.
        value: the number that it was given.
        allowed: the range.

    Raises:
        UserError: the message names the flag and the range.
    """
    _check_field(flag, value, Real, Ranges((allowed,)))


def check_ranges(config: Any, prefix: str) -> None:
    """Refuses a dataclass of which a field holds a number outside its range.

    Fields without a range are left alone, and None is left alone where the annotation allows it.

    Args:
        config: an instance of a dataclass.
        prefix: what precedes the names of its flags, `--model.` or `--`.

    Raises:
        UserError: a number is outside its range, or is none, or is not whole where it must be.
    """
    for name, (kind, ranges) in ranged_fields(type(config)).items():
        value = getattr(config, name)
        if value is not None or NoneType not in typing.get_args(kind):
            _check_field(flag_of(prefix, name), value, _number_of(kind), ranges)


@cache
def ranged_fields(kind: type) -> dict[str, tuple[Any, Ranges]]:
    """The fields of a dataclass that have ranges: their type and their ranges, by name."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        name: (typing.get_args(hint)[0], some)
        for name, hint in hints.items()
        if typing.get_origin(hint) is Annotated
        for some in hint.__metadata__
        if isinstance(some, Ranges)
    }


def flag_of(prefix: str, name: str) -> str:
    """The flag of a field as tyro shows it.

    >>> flag_of("--scenes.", "train_size")
    '--scenes.train-size'
    """
    return prefix + name.replace("_", "-")


def _check_field(flag: str, value: Any, number: type, ranges: Ranges) -> None:
    """Checks each number of a value; a place counts the words that follow the flag, from 1."""
    for place, (part, allowed) in enumerate(zip(_flat(value), cycle(ranges.in_turn)), start=1):
        rule = f"lie {allowed}" if _is_a(part, number) else f"be a {NAMES[number]}"
        if not _is_a(part, number) or part not in allowed:
            many = isinstance(value, tuple)
            what = f"holds {part} in place {place}" if many else f"is {part}"
            raise UserError(f"{flag} {what}; it must {rule}")


def _is_a(value: Any, number: type) -> bool:
    """Whether a value is such a number; True and False are none."""
    return isinstance(value, number) and not isinstance(value, bool)


def _flat(value: Any) -> Iterator[Any]:
    """The numbers of nested tuples, in order."""
    if isinstance(value, tuple):
        for part in value:
            yield from _flat(part)
    else:
        yield value


def _number_of(kind: Any) -> type:
    """Whole numbers or any, by the innermost type of an annotation."""
    while parts := typing.get_args(kind):
        kind = parts[0]
    return Integral if kind is int else Real


def _plain(value: float) -> str:
    """A limit as people write it: 1,000 and 0.001 and 1e-12."""
    whole = abs(value) < 1e10 and value == int(value)  # seeds have ten digits
    return f"{int(value):,}" if whole else f"{value:g}"
