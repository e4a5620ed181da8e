import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from airscene.experiments.machine import PACKAGES, commit, provenance

AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.org")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose commit holds src/code.py, benchmarks/results/old.json and README."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # as a hook sets them
    for name in ("src/code.py", "benchmarks/results/old.json", "README"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, *AUTHOR, "commit", "--quiet", "--message", "first")
    return tmp_path


def git(folder, *words) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_the_repository(repository):
    assert commit(repository / "src") == git(repository, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    "name, mark",
    [
        ("src/code.py", "-dirty"),
        ("src/new.py", ""),  # not tracked
        ("benchmarks/results/old.json", ""),  # a result is no code
        ("README", ""),
    ],
)
@pytest.mark.parametrize("staged", [False, True])
def test_the_commit_is_marked_where_tracked_code_differs(repository, name, mark, staged):
    (repository / name).write_text("second")
    if staged and name != "src/new.py":
        git(repository, "add", name)
    assert commit(repository / "src") == git(repository, "rev-parse", "HEAD") + mark


def test_a_package_that_another_repository_ignores_has_no_commit(repository):
    """As one that is installed in a virtual environment within somebody's repository."""
    package = repository / ".venv" / "airscene"
    package.mkdir(parents=True)
    (package / "code.py").write_text("")
    assert commit(package) is None


@pytest.mark.parametrize("lost", ["repository", "git"])
def test_without_git_there_is_no_commit_and_no_message(tmp_path, monkeypatch, capfd, lost):
    if lost == "git":
        monkeypatch.setenv("PATH", "")
    assert commit(tmp_path) is None
    assert capfd.readouterr() == ("", "")


def test_the_provenance_is_plain_and_names_everything(monkeypatch):
    typed = ["python", "-m", "airscene", "reproduce", "--out", "a folder"]
    monkeypatch.setattr(sys, "orig_argv", typed)
    found = json.loads(json.dumps(provenance()))
    assert [*found] == ["commit", "command", "versions", "machine"]
    assert shlex.split(found["command"]) == typed
    assert {*found["versions"]} == {"python", *PACKAGES}
    assert all(re.match(r"\d+\.\d+", known) for known in found["versions"].values())
    assert found["machine"]["threads"] >= 1
