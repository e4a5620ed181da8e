import math

import pytest

from airscene.experiments.tables import mean_error, mean_percent, success, table


def test_divergence_is_no_success_however_well_it_counted_before():
    ran = {"count_accuracy": 0.96, "failed": None}
    assert success(ran) and not success(ran | {"count_accuracy": 0.94})
    assert not success(ran | {"failed": "diverged"})


def test_a_single_seed_has_no_error():
    mean, error = mean_error([0.5])
    assert mean == 0.5 and math.isnan(error)
    assert mean_error([0.0, 1.0]) == (0.5, pytest.approx(0.5))
    assert mean_percent([0.5]) == "50.00 %"
    assert mean_percent([0.0, 1.0]) == "50.00 % ± 50.00"


def test_a_table_is_aligned():
    lines = table(["a", "number"], [["long name", "1"]]).splitlines()
    assert lines == ["| a         | number |", "| --------- | -----: |", "| long name |      1 |"]


def test_a_narrow_column_is_a_column_of_markdown():
    """A rule of a single colon would make a paragraph of the whole table."""
    assert table(["who", "5"], [["AIR", ""]]).splitlines()[1] == "| --- | -: |"
