"""Where the jobs of an experiment run: on executors of `concurrent.futures`, here or elsewhere.

Here, one worker process a core, or a GPU, and no core taken twice. Workers do not hear Ctrl-C,
which a terminal sends to all; their parent asks them to stop, once, so that a training may save its
checkpoint, whoever was told. A worker whose parent dies stops too.

Elsewhere, the workers of a dask scheduler. A worker that dies has its job done anew by another one:
a training then goes on from its checkpoint, which lies in a folder that all of them share.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any, TypeVar

import torch

from airscene.errors import UserError
from airscene.experiments.cluster import connected, on_cluster

Item = TypeVar("Item")
Result = TypeVar("Result")

SPAWN = multiprocessing.get_context("spawn")  # a fork would share threads and the GPU's state
DEAD = "a worker process died, killed or out of memory; give the same command again to go on"
PAUSE = 0.1  # seconds between two looks at whether a job has ended


class Workers:
    """Runs jobs on an executor.

    Args:
        executor: runs them.
        wrap: calls a job on an item, where the executor runs it.
    """

    def __init__(self, executor: Executor, wrap: Callable[[Callable, Any], Any]):
        self.executor, self.wrap = executor, wrap

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
        with _deaf():
            futures = {self.executor.submit(self.wrap, job, item): item for item in items}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def open_workers(scheduler: str | None = None) -> Iterator[Workers]:
    """The workers of this machine, or those of a cluster.

    Args:
        scheduler: address of a dask scheduler, such as tcp://HOST:PORT.

    Raises:
        UserError: the scheduler does not answer, or its workers cannot do these jobs.
    """
    if scheduler is None:
        with local_workers(pool_size()) as workers:
            yield workers
    else:
        with connected(scheduler) as executor:
            yield Workers(executor, on_cluster)


@contextmanager
def local_workers(size: int) -> Iterator[Workers]:
    """Worker processes that live as long as the context; each starts when it is first needed.

    Where the context ends in an error, what runs is asked to stop.

    Args:
        size: the most workers.

    Raises:
        UserError: one of them died.
    """
    started, told, stopping = SPAWN.SimpleQueue(), SPAWN.Value("i", 0), SPAWN.Event()
    executor = ProcessPoolExecutor(size, SPAWN, _start, (started, told, stopping))
    try:
        yield Workers(executor, _run)
    except BaseException as error:
        stopping.set()
        while not started.empty():
            with suppress(ProcessLookupError):
                os.kill(started.get(), signal.SIGTERM)
        if isinstance(error, BrokenProcessPool):
            raise UserError(DEAD) from error
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        started.close()


def pool_size() -> int:
    """As many workers as the machine has GPUs, or cores for this process where it has none."""
    if gpus := torch.cuda.device_count():
        return gpus
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that start within it, as children inherit it, never hear Ctrl-C."""
    resource_tracker.ensure_running()  # its start would unblock what is blocked here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _State:
    """What a worker process knows of itself.

    Attributes:
        busy: whether it is doing a job.
        stopping: whether all workers are to stop.
    """

    busy = False
    stopping: Any = None


def _start(started: Any, told: Any, stopping: Any) -> None:
    """Prepares a worker process."""
    _State.stopping = stopping
    signal.signal(signal.SIGTERM, _asked)
    threading.Thread(target=_follow_parent, daemon=True).start()
    with told.get_lock():
        index, told.value = told.value, told.value + 1
    if torch.cuda.is_available():
        torch.cuda.set_device(index % torch.cuda.device_count())
    else:
        torch.set_num_threads(1)
    started.put(os.getpid())


def _run(job: Callable[[Any], Any], item: Any) -> Any:
    """Does a job, unless all are to stop."""
    if _State.stopping.is_set():
        raise KeyboardInterrupt
    _State.busy = True
    try:
        return job(item)
    finally:
        _State.busy = False


def _asked(number: int, frame: FrameType | None) -> None:
    """Interrupts the job; a worker without one ends by itself."""
    if _State.busy:
        raise KeyboardInterrupt


def _follow_parent() -> None:
    """Ends this worker, its job asked to stop, once its parent is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    _State.stopping.set()
    os.kill(os.getpid(), signal.SIGTERM)
    while _State.busy:
        time.sleep(PAUSE)
    os._exit(1)
