import errno
import os
import stat
from pathlib import Path

import pytest

from airscene.errors import UserError
from airscene.files import whole_file, write_text, write_whole


def full_disk(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def contents(folder: Path) -> dict[str, str]:
    """Every file in a folder, hidden ones too."""
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def target(tmp_path) -> Path:
    path = tmp_path / "table.json"
    path.write_text("old")
    return path


def test_a_written_file_replaces_what_stood_there_and_nothing_else_remains(target):
    assert write_text(target, "new – ünïcode") == target
    assert contents(target.parent) == {"table.json": "new – ünïcode"}


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "text")
    assert contents(tmp_path / "a" / "b") == {"c.txt": "text"}


def test_until_the_writer_is_done_the_old_file_stands(target):
    with whole_file(target) as temporary:
        temporary.write_text("half")
        assert target.read_text() == "old"
        assert temporary.parent == target.parent  # else the last step could not be a rename
        assert temporary.suffix == target.suffix
    assert target.read_text() == "half"


def test_a_writer_that_fails_leaves_the_old_file_and_no_temporary(target):
    def write(path: Path) -> None:
        path.write_text("half")
        raise KeyError("a defect")

    with pytest.raises(KeyError, match="a defect"):
        write_whole(target, write)
    assert contents(target.parent) == {"table.json": "old"}


def test_an_interrupted_writer_leaves_the_old_file_and_no_temporary(target):
    with pytest.raises(KeyboardInterrupt), whole_file(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert contents(target.parent) == {"table.json": "old"}


@pytest.mark.parametrize("step", ["write_text", "chmod", "replace"])
def test_a_full_disk_is_the_users_error_and_leaves_the_old_file(target, monkeypatch, step):
    with monkeypatch.context() as patch:
        patch.setattr(Path, step, full_disk)
        with pytest.raises(UserError, match=r"table\.json: No space left on device; free some"):
            write_text(target, "new")
    assert contents(target.parent) == {"table.json": "old"}


def test_a_disk_too_full_for_a_temporary_is_the_users_error(target, monkeypatch):
    monkeypatch.setattr("tempfile.mkstemp", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        write_text(target, "new")
    assert contents(target.parent) == {"table.json": "old"}


def test_a_folder_that_is_a_file_is_the_users_error(target):
    with pytest.raises(UserError, match=r"cannot write .*table\.json.x"):
        write_text(target / "x", "new")
    assert contents(target.parent) == {"table.json": "old"}


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        path = write_text(tmp_path / "new.txt", "text")
        assert os.umask(mask) == mask  # unchanged by the writing
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
