import errno
import io
import os
import subprocess
import sys

import pytest

from airscene.apps.terminal import LastingStream, lasting_output


class Broken(io.StringIO):
    """A stream whose reader is gone."""

    encoding = "utf-8"

    def write(self, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_stream_that_breaks_is_written_to_no_more():
    stream = LastingStream(Broken())
    assert stream.write("one") == 3 and stream.lost
    assert stream.write("two") == 3
    stream.flush()


def test_text_goes_through_while_the_stream_lasts():
    below = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", below)
        with lasting_output():
            print("a line")
        assert sys.stdout is below
    assert below.getvalue() == "a line\n"


def test_characters_that_the_encoding_lacks_are_escaped():
    below = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    LastingStream(below).write("σ = 0.3\n")
    below.flush()
    assert below.buffer.getvalue() == b"\\u03c3 = 0.3\n"


PRINTER = """
import sys, time
from airscene.apps.terminal import lasting_output
with lasting_output():
    for k in range(2000):
        print("line", k, flush=True)
with open(sys.argv[1], "w") as file:
    file.write("done")
"""


@pytest.mark.parametrize("end", ["| head -1", "> /dev/full", ">&-"])
def test_losing_standard_output_costs_no_work(tmp_path, end):
    (tmp_path / "printer.py").write_text(PRINTER)
    words = f"set -o pipefail; {sys.executable} printer.py done.txt {end}"
    done = subprocess.run(["bash", "-c", words], cwd=tmp_path, capture_output=True, text=True)
    assert (tmp_path / "done.txt").read_text() == "done"
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert os.linesep not in done.stderr.strip()
