"""Jobs spread over the machine: one worker process a core, or a GPU, and no core taken twice.

Workers do not hear Ctrl-C, which a terminal sends to all; their parent asks them to stop, once, so
that a training may save its checkpoint, whoever was told. A worker whose parent dies stops too.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self, TypeVar

import torch

from airscene.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

SPAWN = multiprocessing.get_context("spawn")  # a fork would share threads and the GPU's state


class Pool:
    """Worker processes that live as long as the context; each starts when it is first needed.

    Args:
        size: the most workers.
    """

    def __init__(self, size: int):
        self.size = size
        self.workers: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection, process in self.workers.items():
            if kind:  # what runs is to stop early
                process.terminate()
            connection.close()
        for process in self.workers.values():
            process.join()

    def map(
        self, job: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Calls a module's function on every item.

        Args:
            job: the function; what it takes and returns is pickled.
            items: in the order in which they are begun.

        Yields:
            Each item with its result, as they are finished.

        Raises:
            BaseException: what the first job to fail raised; KeyboardInterrupt if it was stopped.
        """
        waiting, busy = deque(items), dict[Connection, Item]()
        while waiting or busy:
            while waiting and len(busy) < self.size:
                connection = self._idle(busy)
                busy[connection] = waiting.popleft()
                connection.send((job, busy[connection]))
            for connection in wait([*busy]):
                yield busy.pop(connection), _receive(connection)  # type: ignore[arg-type]

    def _idle(self, busy: dict[Connection, Any]) -> Connection:
        free = [connection for connection in self.workers if connection not in busy]
        return free[0] if free else self._start()

    def _start(self) -> Connection:
        connection, far = SPAWN.Pipe()
        process = SPAWN.Process(target=_work, args=(far, len(self.workers)), daemon=True)
        resource_tracker.ensure_running()  # its start would unblock what is blocked here
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the child inherits it
        process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        far.close()
        self.workers[connection] = process
        return connection


def pool_size() -> int:
    """As many workers as the machine has GPUs, or cores for this process where it has none."""
    if gpus := torch.cuda.device_count():
        return gpus
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _receive(connection: Connection) -> Any:
    try:
        failed, result = connection.recv()
    except EOFError as error:
        raise UserError(
            "a worker process died, killed or out of memory; give the same command again to go on"
        ) from error
    if failed:
        raise result
    return result


def _work(connection: Connection, index: int) -> None:
    """What worker `index` does: jobs, one after the other, until its parent hangs up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_follow_parent, daemon=True).start()
    if torch.cuda.is_available():
        torch.cuda.set_device(index)
    else:
        torch.set_num_threads(1)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            job, item = connection.recv()
            connection.send(_outcome(job, item))


def _outcome(job: Callable[[Any], Any], item: Any) -> tuple[bool, Any]:
    """Whether the job failed, and its result or what it raised."""
    try:
        return False, job(item)
    except BaseException as error:
        error.add_note(traceback.format_exc())  # tracebacks themselves do not travel
        return True, error


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
