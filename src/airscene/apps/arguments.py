"""What was typed, as a command: one parser, and what was typed itself for those who must know."""

import contextlib
import dataclasses
import io
import os
import re
from pathlib import Path
from typing import Any, TypeVar

import tyro

from airscene.errors import UserError

Command = TypeVar("Command")

LONGEST_NAME = 255  # bytes that file systems allow
RULE = re.compile(r"[╰╯─ -]+")  # as tyro draws it, in ASCII if need be


def parse_command(kind: type[Command], words: list[str], program: str, default: Any) -> Command:
    """The words as a dataclass, with `~` in its paths expanded.

    Args:
        kind: the dataclass.
        words: what was typed after the command's name.
        program: what is to be called in the help.
        default: an instance that gives the defaults, or `tyro.MISSING_NONPROP`.

    Raises:
        UserError: a flag is unknown, missing or empty, or a value does not fit it.
    """
    _refuse_empty(words)
    with _complaints_as_errors():
        command = tyro.cli(kind, args=words, prog=program, default=default)
    return with_home(command)


def parse_known(kind: type[Command], words: list[str]) -> Command:
    """What the words say of a dataclass's fields; the other words are left for later.

    The parser is the one of `parse_command`, so that both know the same spellings.

    Raises:
        UserError: a value does not fit its flag.
    """
    _refuse_empty(words)
    few = [word for word in words if word not in ("-h", "--help")]
    with _complaints_as_errors():
        known, _ = tyro.cli(kind, args=few, return_unknown_args=True)
    return with_home(known)


def given_flags(words: list[str]) -> frozenset[str]:
    """The flags that were typed, spelled as the help spells them.

    >>> sorted(given_flags(["--object_size=14", "--seed", "3"]))
    ['--object-size', '--seed']
    """
    flags = (word.split("=")[0] for word in words if word.startswith("--"))
    return frozenset(flag.replace("_", "-") for flag in flags)


def with_home(value: Any) -> Any:
    """A dataclass with `~` expanded in each of its paths.

    Raises:
        UserError: there is no such user.
    """
    if isinstance(value, Path):
        return _place(value)
    if isinstance(value, tuple):
        return tuple(map(with_home, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: with_home(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **changed)
    return value


def _place(path: Path) -> Path:
    """A path with `~` expanded, whose names a file system can hold."""
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise UserError(f"{path} cannot be found: {error}") from error
    for part in path.parts:
        if (size := len(os.fsencode(part))) > LONGEST_NAME:
            raise UserError(f"{part[:20]}… has {size} bytes; a name has at most {LONGEST_NAME}")
    return path


def _refuse_empty(words: list[str]) -> None:
    for before, word in zip(["", *words], words, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            flag = word.rstrip("=") or before
            raise UserError(f"the value after {flag or 'the command'} is empty; name one")
        if "\0" in word:
            raise UserError(f"the value after {before or 'the command'} holds a zero byte")


@contextlib.contextmanager
def _complaints_as_errors():
    """What tyro complains of, as one line."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            yield
    except SystemExit as error:
        if error.code:
            raise UserError(_one_line(complaint.getvalue())) from None
        raise


def _one_line(text: str) -> str:
    """A complaint without the frame, the title and the hint that it is drawn with."""
    lines = [line.strip("│ ") for line in text.splitlines()[1:]]
    message = " ".join(line for line in lines if line and not RULE.fullmatch(line))
    message = re.sub(r"^Error parsing config[\w.]*: ", "", message)  # the dataclass names the flag
    return re.split(" (?:For full|Argument) helptext", message)[0]
