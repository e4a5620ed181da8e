import errno
import json
import threading
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from airscene.errors import UserError
from airscene.training.logging import Log, Meter, read_metrics

GOOD = '{"step": 2, "train/elbo": 1.5}\n{"step": 4, "train/elbo": 2}\n'


def write(folder: Path, text: str | bytes) -> Path:
    (folder / "metrics.jsonl").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def test_rows_come_in_order(tmp_path):
    assert [row["step"] for row in read_metrics(write(tmp_path, GOOD))] == [2, 4]


def test_what_is_not_finite_is_left_out_so_that_the_rows_stay_readable(tmp_path):
    with Log(tmp_path, 0, True) as log:
        log.write({"step": 2, "train/elbo": float("nan"), "train/loss": 1.5})
    assert read_metrics(tmp_path) == [{"step": 2, "train/loss": 1.5}]


def test_without_a_file_there_are_no_rows(tmp_path):
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("cut", range(1, len(GOOD.splitlines()[1]) + 1))
def test_a_last_line_that_was_cut_short_is_left_out(tmp_path, cut):
    assert [row["step"] for row in read_metrics(write(tmp_path, GOOD[:-cut]))] == [2]


BAD = [
    "{",
    "[]",
    "null",
    "{}",
    '{"step": "2"}',
    '{"step": 2.5}',
    '{"step": true}',
    '{"step": -1}',
    '{"step": 2, "train/elbo": NaN}',
    '{"step": 2, "train/elbo": null}',
    '{"step": 2, "train/elbo": "1"}',
    '{"step": 2, "train/elbo": [1]}',
    '{"step": 2, "train/elbo": 1' + 400 * "0" + "}",
    "[" * 100_000,
    "",
]


@pytest.mark.parametrize("line", BAD)
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged in line 3; remove that line"):
        read_metrics(write(tmp_path, GOOD + line + "\n" + GOOD))


def test_what_is_no_text_or_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="it is no text"):
        read_metrics(write(tmp_path, b"\xff\xfe\n"))
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        read_metrics(tmp_path)


def meter(steps=0, sums=None) -> Meter:
    return Meter(Accelerator(), steps, sums or {})


def test_a_row_holds_means_over_its_steps_alone():
    some = meter()
    for value in (1.0, 2.0, 6.0):
        some.add({"loss": torch.tensor(value)})
    assert some.take()["loss"] == pytest.approx(3.0)
    some.add({"loss": torch.tensor(5.0)})
    assert some.take()["loss"] == pytest.approx(5.0)


def test_a_row_covers_the_steps_of_an_earlier_sitting_bit_for_bit():
    values = torch.rand(7).tolist()
    whole, first = meter(), meter()
    for value in values:
        whole.add({"loss": torch.tensor(value)})
    for value in values[:4]:
        first.add({"loss": torch.tensor(value)})
    second = meter(first.steps, json.loads(json.dumps(first.read())))
    for value in values[4:]:
        second.add({"loss": torch.tensor(value)})
    assert second.take()["loss"] == whole.take()["loss"]


def test_the_speed_counts_neither_pauses_nor_earlier_sittings(monkeypatch):
    clock = iter([0.0, 2.0, 102.0, 103.0, 103.0])  # start, pause, go on, row; the next row's start
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    some = meter(10, {"loss": 20.0})
    for _ in range(6):
        some.add({"loss": torch.tensor(2.0)})
    with some.paused():
        pass
    row = some.take()
    assert row == {"loss": 2.0, "steps_per_second": 2.0}  # six steps in 2 + 1 seconds


def test_a_full_disk_is_told_once_and_not_by_a_thread(tmp_path, monkeypatch, capfd):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = threading.excepthook
    with pytest.raises(UserError, match="No space left"), Log(tmp_path, 0, True) as log:
        monkeypatch.setattr(log.board.file_writer.event_writer._async_writer._writer, "write", full)
        for step in range(1000):
            log.write({"step": step})
            time.sleep(0.001)
    assert threading.excepthook is before
    assert "Traceback" not in capfd.readouterr().err
