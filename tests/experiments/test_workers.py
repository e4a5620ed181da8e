import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from airscene.errors import UserError
from airscene.experiments import cluster
from airscene.experiments.workers import local_workers, open_workers, pool_size
from airscene.training.interrupt import Interrupt

PATIENCE = 300.0  # seconds for processes to start and to end


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
    with pytest.raises(UserError, match="a worker process died"), local_workers(1) as workers:
        done = dict(workers.map(describe, [1, 2, 3]))
        assert {item: value for item, (value, _, _) in done.items()} == {1: 2, 2: 4, 3: 6}
        assert all(blocked for _, _, blocked in done.values())
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        with pytest.raises(UserError, match="a mistake"):
            list(workers.map(fail, ["a mistake"]))
        again = dict(workers.map(describe, [4]))
        processes = {process for _, process, _ in [*done.values(), *again.values()]}
        assert len(processes) == 1 and os.getpid() not in processes
        list(workers.map(fail, ["die"]))


def test_an_interrupted_parent_lets_its_workers_save(tmp_path):
    path, before = tmp_path / "started", children()
    with pytest.raises(KeyboardInterrupt), local_workers(1) as workers:
        interrupt_when(path)
        list(workers.map(wait_for_a_request, [str(path), str(tmp_path / "never started")]))
    assert [*map(str, tmp_path.iterdir())] == [str(tmp_path / "started.saved")]
    assert children() <= before


ORPHAN = """
from pathlib import Path
import sys
from airscene.experiments.workers import local_workers
from test_workers import wait_for_a_request

if __name__ == "__main__":
    with local_workers(1) as workers:
        list(workers.map(wait_for_a_request, [sys.argv[1], sys.argv[1] + " next"]))
"""


def test_a_worker_whose_parent_was_killed_saves_and_ends(tmp_path):
    script, path = tmp_path / "orphan.py", tmp_path / "started"
    script.write_text(ORPHAN)
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, script, path],
        env={**os.environ, "PYTHONPATH": folders},
        stderr=subprocess.DEVNULL,
    )
    wait_until(path.exists)
    (worker,) = (
        child.pid
        for child in psutil.Process(parent.pid).children()
        if "resource_tracker" not in " ".join(child.cmdline())
    )
    parent.kill()
    parent.wait()
    wait_until(lambda: not psutil.pid_exists(worker) or is_dead(worker))
    assert (tmp_path / "started.saved").exists() and not (tmp_path / "started next").exists()


def is_dead(process: int) -> bool:
    """Whether a process has ended, be it that nobody has asked how."""
    return psutil.Process(process).status() == psutil.STATUS_ZOMBIE


def wait_until(holds) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def interrupt_when(path: Path) -> None:
    """Presses Ctrl-C, for this process alone, once the file is there."""

    def watch():
        while not path.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def children() -> set:
    """Processes that this one started, renderers of other tests among them."""
    return {child.pid for child in multiprocessing.active_children()}


def test_nothing_starts_without_work():
    before = children()
    with local_workers(2) as workers:
        assert list(workers.map(describe, [])) == [] and children() <= before


def test_there_is_at_least_one_worker():
    assert pool_size() >= 1


def test_a_scheduler_that_does_not_answer_is_refused(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "ANSWER", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense://", "127.0.0.1:notaport"):
        with pytest.raises(UserError, match="does not answer; start one"), open_workers(address):
            pytest.fail("it answered")


def test_workers_that_cannot_do_the_jobs_are_refused():
    own = cluster.versions(cluster.PACKAGES)
    cluster.check_workers("tcp://a:1", {"w": 1}, {"w": own})
    with pytest.raises(UserError, match="has no workers; start some with: dask worker tcp://a:1"):
        cluster.check_workers("tcp://a:1", {}, {})
    with pytest.raises(UserError, match="worker w has torch 1, and this process has"):
        cluster.check_workers("tcp://a:1", {"w": 1}, {"w": own | {"torch": "1"}})
    with pytest.raises(UserError, match="worker w has 4 threads"):
        cluster.check_workers("tcp://a:1", {"w": 4}, {"w": own})
