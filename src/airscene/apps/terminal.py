"""What commands print: output that may be lost without any work being lost, and tables."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class LastingStream(io.TextIOBase):
    """Passes text on to a stream for as long as that takes any; from then on, drops it.

    Whoever reads a command's output may stop early (`airscene train … | head -1`), and the disk to
    which it goes may become full. Characters that the stream's encoding lacks are escaped.

    Args:
        stream: standard output or standard error; None where it was closed before the start.
    """

    def __init__(self, stream: TextIO | None):
        self.stream, self.lost = stream or io.StringIO(), stream is None

    def write(self, text: str) -> int:
        """Writes text, or drops it."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self._try(self.stream.write, text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream, or drops what it holds."""
        self._try(self.stream.flush)

    def isatty(self) -> bool:
        """Whether a terminal shows the text."""
        return not self.lost and self.stream.isatty()

    def fileno(self) -> int:
        """The stream's file descriptor."""
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's encoding."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def _try(self, call: Any, *arguments: Any) -> None:
        if self.lost:
            return
        try:
            call(*arguments)
        except (OSError, ValueError):  # a broken pipe, a full disk; a stream that was closed
            self.lost = True
            self._send_to_nowhere()

    def _send_to_nowhere(self) -> None:
        """So that Python does not complain of what the stream still holds when it ends."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Within it, losing standard output or standard error stops no work."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = LastingStream(before[0]), LastingStream(before[1])
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if sys.stdout.lost and not sys.stderr.lost:
            print("airscene: note: standard output was lost", file=sys.stderr)
        sys.stdout, sys.stderr = before


def show(table: dict) -> None:
    """Prints an evaluation."""
    for name, value in table.items():
        print(f"{name:28}{_plain(value)}")


def _plain(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
