"""The workers of a dask cluster as an executor (extra `airscene[cluster]`)."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from airscene.errors import UserError

PACKAGES = ("airscene", "torch", "numpy")  # that decide what a training computes
ANSWER = 10.0  # seconds in which a scheduler answers


@contextmanager
def connected(address: str) -> Iterator[Executor]:
    """The executor of a scheduler, after it was made sure that its workers can do our jobs.

    Args:
        address: of the scheduler, such as tcp://HOST:PORT.

    Raises:
        UserError: dask is missing, the scheduler does not answer, it has no workers, they have
            other versions or several threads, or several of them died at the same job.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise UserError(
            "--scheduler needs dask: pip install airscene[cluster], or leave it out"
        ) from error
    try:
        client = Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--scheduler {address} does not answer; start one with: dask scheduler, and name the "
            f"address that it prints, such as tcp://127.0.0.1:8786"
        ) from error
    with client:
        check_workers(address, *_asked(client, address))
        try:
            yield client.get_executor(pure=False)
        except KilledWorker as error:
            raise UserError(
                f"--scheduler {address}: workers keep dying at one training, killed or out of "
                f"memory; give the same command again to go on"
            ) from error


def _asked(client: Any, address: str) -> tuple[dict[str, int], dict[str, dict]]:
    """Threads and versions of each worker."""
    try:
        return client.nthreads(), client.run(versions, PACKAGES)
    except ImportError as error:
        raise UserError(
            f"--scheduler {address}: a worker lacks a package ({error}); install airscene there"
        ) from error


def check_workers(address: str, threads: dict[str, int], found: dict[str, dict]) -> None:
    """Refuses workers that cannot do our jobs.

    Args:
        address: of the scheduler.
        threads: of each worker, by its address.
        found: the same of its versions, as of `versions`.

    Raises:
        UserError: there are none, or they have other versions or several threads.
    """
    if not threads:
        raise UserError(
            f"--scheduler {address} has no workers; start some with: "
            f"dask worker {address} --nthreads 1"
        )
    own = versions(PACKAGES)
    for worker, theirs in found.items():
        for package, number in own.items():
            if theirs[package] != number:
                raise UserError(
                    f"--scheduler {address}: worker {worker} has {package} {theirs[package]}, and "
                    f"this process has {number}; install the same version there"
                )
    for worker, number in threads.items():
        if number != 1:
            raise UserError(
                f"--scheduler {address}: worker {worker} has {number} threads, and a training "
                f"needs a process of its own; start workers with --nthreads 1"
            )


def versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """The installed versions of packages, None where one is missing."""
    return {package: _version(package) for package in packages}


def on_cluster(job: Callable[[Any], Any], item: Any) -> Any:
    """Does a job in a worker of the cluster, with one thread unless there is a GPU.

    So it computes there what a worker process of one machine computes.
    """
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    return job(item)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
