import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from airscene.errors import UserError
from airscene.files import (
    check_regular,
    check_writable,
    read_json,
    read_text,
    sweep,
    whole_file,
    write_json,
    write_text,
    write_whole,
    writing,
)


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


# what is not a plain file


@pytest.mark.parametrize("target", ["file.txt", "deep/file.txt", "missing.txt"])
def test_a_link_is_followed_and_stays_a_link(tmp_path, target):
    (tmp_path / "deep").mkdir()
    (tmp_path / "file.txt").write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / target)
    write_text(link, "new")
    assert link.is_symlink() and (tmp_path / target).read_text() == "new"


def test_links_in_a_circle_are_the_users_error(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match="cannot write"):
        write_text(tmp_path / "a", "new")


def test_a_pipe_is_written_into_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through the pipe")
    reader.join(10)
    assert found == ["through the pipe"] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_is_written_into():
    write_text(Path("/dev/null"), "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_device_is_the_users_error():
    with pytest.raises(UserError, match="No space left on device; free some space"):
        write_text(Path("/dev/full"), "text")


# temporaries of killed processes

KILLED = """
import os, signal, sys
from pathlib import Path
from airscene.files import whole_file
with whole_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_removed_by_the_next(target):
    subprocess.run([sys.executable, "-c", KILLED, str(target)])
    assert len(contents(target.parent)) == 2 and target.read_text() == "old"
    write_text(target.parent / "other.json", "new")  # which is not concerned
    assert len(contents(target.parent)) == 3
    write_text(target, "new")
    assert contents(target.parent) == {"table.json": "new", "other.json": "new"}


def test_all_that_killed_writers_left_in_a_folder_can_be_removed(target):
    for name in ("a.txt", "b.npz", "c"):
        subprocess.run([sys.executable, "-c", KILLED, str(target.parent / name)])
    assert len(contents(target.parent)) == 4
    sweep(target.parent)
    assert contents(target.parent) == {"table.json": "old"}


def test_the_temporary_of_a_process_that_lives_is_left_alone(target):
    with whole_file(target) as temporary:
        temporary.write_text("half")
        sweep(target.parent)
        assert temporary.exists()


def test_hidden_files_of_others_are_left_alone(target):
    (target.parent / ".table.json.swp").write_text("an editor's")
    (target.parent / ".x.tmp").write_text("somebody's")
    sweep(target.parent)
    write_text(target, "new")
    assert {".table.json.swp", ".x.tmp"} <= contents(target.parent).keys()


@pytest.mark.parametrize("name", ["n" * 240, "ü" * 120, os.fsdecode(b"\xff\xfe" * 60)])
def test_long_and_odd_names_are_written(tmp_path, name):
    write_text(tmp_path / name, "text")
    assert contents(tmp_path) == {name: "text"}


# places that cannot be written are refused before any work

UNWRITABLE = {
    "a folder": lambda folder: folder,
    "below a file": lambda folder: folder / "table.json" / "x" / "y",
    "no such device": lambda folder: Path("/proc/nothing/here"),
    "a long name": lambda folder: folder / ("n" * 300),
    "a long folder": lambda folder: folder / ("n" * 300) / "x",
}


@pytest.mark.parametrize("kind", UNWRITABLE)
def test_an_unwritable_place_is_refused_beforehand_and_nothing_is_changed(target, kind):
    with pytest.raises(UserError, match="cannot write"):
        check_writable(UNWRITABLE[kind](target.parent))
    assert contents(target.parent) == {"table.json": "old"}


def test_a_writable_place_is_left_as_it_was(target):
    for path in (target, target.parent / "new", target.parent / "a" / "b" / "c"):
        check_writable(path)
    check_writable(Path("/dev/null"))
    assert contents(target.parent) == {"table.json": "old"}


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EACCES, "in which you may write"),
        (errno.EROFS, "in which you may write"),
        (errno.EIO, "name another place"),
    ],
)
def test_the_advice_fits_the_reason(number, advice):
    with pytest.raises(UserError, match=advice), writing(Path("x")):
        raise OSError(number, os.strerror(number))


# reading JSON


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '"\\ud8', "nul"])
def test_damaged_json_is_the_users_error_in_one_line(target, text):
    target.write_text(text)
    with pytest.raises(UserError, match="cannot be read as JSON") as caught:
        read_json(target)
    assert "\n" not in str(caught.value)


def test_what_is_no_text_or_no_file_is_the_users_error_too(target):
    target.write_bytes(b"\xff\xfe\x00")
    for path in (target, target.parent, target.parent / "none"):
        with pytest.raises(UserError):
            read_json(path)


def test_json_knows_no_nan(target):
    write_json(target, {"a": float("nan"), "b": [float("inf"), 1.5]})
    assert read_json(target) == {"a": None, "b": [None, 1.5]}


@pytest.mark.parametrize("read", [read_text, check_regular])
def test_a_pipe_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", Path(os.devnull)):
        with pytest.raises(OSError, match="a pipe, a socket or a device"):
            read(path)
