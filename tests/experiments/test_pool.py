import os
import signal
import threading
import time
from pathlib import Path

import pytest

from airscene.errors import UserError
from airscene.experiments.pool import Pool, pool_size
from airscene.training.interrupt import Interrupt


def describe(item: int) -> tuple[int, int, bool]:
    """The item doubled, who did it, and whether Ctrl-C is kept from it."""
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return 2 * item, os.getpid(), blocked


def fail(item: str) -> None:
    if item == "die":
        os._exit(1)
    raise UserError(item)


def wait_for_a_request(path: str) -> None:
    """What a training does: it saves when it is asked to stop."""
    with Interrupt() as interrupt:
        Path(path).touch()
        while not interrupt.requested:
            time.sleep(0.01)
    Path(path).rename(path + ".saved")
    raise KeyboardInterrupt


def test_jobs_are_done_by_workers_and_failures_reach_the_parent():
    # one test, as starting a worker takes seconds
    with pytest.raises(UserError, match="a worker process died"), Pool(1) as pool:
        done = dict(pool.map(describe, [1, 2, 3]))
        assert {item: value for item, (value, _, _) in done.items()} == {1: 2, 2: 4, 3: 6}
        assert all(blocked for _, _, blocked in done.values())
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        with pytest.raises(UserError, match="a mistake"):
            list(pool.map(fail, ["a mistake"]))
        again = dict(pool.map(describe, [4]))
        workers = {worker for _, worker, _ in [*done.values(), *again.values()]}
        assert len(workers) == 1 and os.getpid() not in workers
        list(pool.map(fail, ["die"]))


def test_an_interrupted_parent_lets_its_workers_save(tmp_path):
    path = tmp_path / "started"
    with pytest.raises(KeyboardInterrupt), Pool(1) as pool:
        interrupt_when(path)
        list(pool.map(wait_for_a_request, [str(path)]))
    assert (tmp_path / "started.saved").exists()
    assert not any(process.is_alive() for process in pool.workers.values())


def interrupt_when(path: Path) -> None:
    """Presses Ctrl-C, for this process alone, once the file is there."""

    def watch():
        while not path.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def test_nothing_starts_without_work():
    with Pool(2) as pool:
        assert list(pool.map(describe, [])) == [] and not pool.workers


def test_there_is_at_least_one_worker():
    assert pool_size() >= 1
