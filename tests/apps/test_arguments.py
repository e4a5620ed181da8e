from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airscene.apps.arguments import given_flags, parse_command, parse_known
from airscene.errors import UserError


@dataclass(frozen=True)
class Inner:
    """Nested settings."""

    scale_prior: tuple[float, float] = (0.0, 1.0)
    """A pair."""


@dataclass(frozen=True)
class Example:
    """A command."""

    out: Path = Path("x")
    """A path."""
    object_size: float | None = None
    """A number."""
    resume: bool = False
    """A switch."""
    inner: Inner = field(default_factory=Inner)
    """Nested settings."""


SPELLINGS = [
    ["--object-size", "14", "--inner.scale-prior", "-1", "2"],
    ["--object_size", "14", "--inner.scale_prior", "-1", "2"],
    ["--object-size=14", "--inner.scale-prior", "-1", "2"],
    ["--object_size=14", "--inner.scale_prior", "-1", "2"],
]


@pytest.mark.parametrize("words", SPELLINGS)
def test_every_spelling_means_the_same_to_whoever_asks(words):
    whole = parse_command(Example, words, "example", Example())
    assert whole.object_size == 14 and whole.inner.scale_prior == (-1.0, 2.0)
    assert parse_known(Example, words) == whole
    assert given_flags(words) == {"--object-size", "--inner.scale-prior"}


def test_what_is_known_is_told_from_the_rest():
    words = ["--nonsense", "3", "--out=y", "--training.rate", "0", "-1e-4", "--resume"]
    assert parse_known(Example, words) == Example(out=Path("y"), resume=True)


def test_home_is_expanded_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    for words in (["--out", "~/run"], ["--out=~/run"]):
        parsed = parse_command(Example, words, "example", Example())
        assert parsed.out == Path("/home/somebody/run")


MISTAKES = {
    "": "is empty",
    "--out ": "--out is empty",
    "--out=": "--out is empty",
    "--out ~nobody-of-this-name/x": "cannot be found",
    "--object-size many": "--object-size",
    "--object-size": "--object-size",
    "--resum": "--resum",
    "--out x\0y": "zero byte",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line(line):
    with pytest.raises(UserError, match=MISTAKES[line]) as caught:
        parse_command(Example, line.split(" "), "example", Example())
    assert "\n" not in str(caught.value)
