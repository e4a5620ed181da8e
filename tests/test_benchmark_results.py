import json
import re
from pathlib import Path

import pytest

RESULTS = sorted((Path(__file__).parents[1] / "benchmarks" / "results").glob("*.json"))


def test_there_are_results():
    assert RESULTS


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_result_says_where_it_comes_from(path):
    found = json.loads(path.read_text())["provenance"]
    assert {"commit", "command", "versions", "machine"} <= {*found}
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", found["commit"])
