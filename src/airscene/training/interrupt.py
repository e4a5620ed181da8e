"""Ctrl-C as a request, so that no step is cut in half."""

import signal
import threading
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While entered, the first Ctrl-C or SIGTERM sets `requested`; the second acts as usual."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        signals = SIGNALS if main else ()  # Python lets no other thread handle them
        self._before = {number: signal.signal(number, self._request) for number in signals}
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
