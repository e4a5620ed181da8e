"""A scheduler and two workers on the loopback address, one of which is killed in a training."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from airscene.experiments.learning import EvaluationConfig, LearningTask, learn
from airscene.experiments.workers import open_workers
from airscene.runs.folder import LOCK
from airscene.training.logging import read_metrics
from airscene.training.loop import CHECKPOINT

pytest.importorskip("distributed")

PATIENCE = 300.0  # seconds for processes to start, and for checkpoints to appear
LOCAL = ("--host", "127.0.0.1", "--no-dashboard")

# dask closes its sockets in threads of its own, after the test
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


def wait_for(holds) -> None:
    """Waits until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


@pytest.fixture
def processes():
    """Starts processes of dask, which end with the test."""
    started = []

    def start(module: str, *flags: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.{module}", *flags]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

    yield start
    for process in started:
        process.kill()
    for process in started:
        process.wait()


@pytest.fixture
def scheduler(processes, tmp_path) -> str:
    """The address of a scheduler with two workers."""
    file = tmp_path / "scheduler.json"
    processes("dask_scheduler", *LOCAL, "--port", "0", "--scheduler-file", str(file))
    wait_for(file.exists)
    wait_for(lambda: "address" in file.read_text())
    address = re.search(r"tcp://[\d.:]+", file.read_text())
    assert address
    for _ in range(2):
        flags = "--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path)
        processes("dask_worker", address[0], *LOCAL, *flags)
    return address[0]


@pytest.fixture
def task(tiny, tmp_path) -> LearningTask:
    """A training of some seconds with a checkpoint every few steps."""
    training = replace(tiny.training, iterations=300, validate_every=10)
    config = replace(tiny, training=training)
    return LearningTask(config, tmp_path / "cluster", EvaluationConfig(1, 4), None)


def workers_of(address: str) -> int:
    from distributed import Client

    with Client(address, timeout=PATIENCE, set_as_default=False) as client:
        return len(client.nthreads())


def kill_owner(folder: Path, killed: list[int]) -> None:
    """Kills the process that trains into a folder, once it has saved a checkpoint there."""
    wait_for((folder / CHECKPOINT).exists)
    found = re.match(r"process (\d+) on", (folder / LOCK).read_text())
    assert found
    killed.append(int(found[1]))
    os.kill(killed[0], signal.SIGKILL)


def test_another_worker_takes_up_a_training_whose_worker_was_killed(scheduler, task, tmp_path):
    wait_for(lambda: workers_of(scheduler) == 2)
    killed: list[int] = []
    threading.Thread(target=kill_owner, args=(task.folder, killed), daemon=True).start()
    with open_workers(scheduler) as workers:
        ((done, _),) = workers.map(learn, [task])
    assert done == task and killed and killed[0] != os.getpid()
    assert workers_of(scheduler) == 1
    alone = replace(task, folder=tmp_path / "alone")
    learn(alone)
    weights, expected = (load_file(some.folder / CHECKPOINT) for some in (task, alone))
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    resumed = [row["step"] for row in read_metrics(task.folder)]
    assert resumed == [row["step"] for row in read_metrics(alone.folder)]
