"""Where a result comes from: the code, the command, the versions and the machine."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("airscene", "torch", "numpy", "scipy", "scikit-learn")
SOURCES = (":(top)src", ":(top)benchmarks", ":(top,exclude)benchmarks/results")


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def provenance() -> dict[str, Any]:
    """What a reader must know to repeat a result and to compare its times, ready for JSON.

    Returns:
        `commit` as in `commit`; `command`, the command line of this process as typed, Python first;
        `versions` of Python and of the packages that decide the numbers, by name; and `machine` as
        in `describe_machine`.
    """
    return {
        "commit": commit(),
        "command": shlex.join(sys.orig_argv),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "machine": describe_machine(),
    }


def commit(folder: Path = Path(__file__).parent) -> str | None:
    """The git commit that a folder's code is of.

    Args:
        folder: a folder of the code; that of this module unless given.

    Returns:
        The full hash, with `-dirty` behind it if tracked files below `src` or `benchmarks` differ
        from that commit, results aside. None if git is missing or does not track the folder, as
        for a package that was installed.
    """
    if not _git(folder, "ls-files", "."):
        return None
    changed = _git(folder, "diff", "--name-only", "HEAD", "--", *SOURCES)
    head = _git(folder, "rev-parse", "HEAD")
    return f"{head}-dirty" if head and changed else head or None


def describe_machine() -> dict[str, Any]:
    """What a reader must know of the machine to compare times."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _git(folder: Path, *words: str) -> str:
    """What a git command prints, without its last line break; nothing where it fails."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    # A git hook sets GIT_DIR, which would name its own repository in place of the folder's.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.rstrip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
