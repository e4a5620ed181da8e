import math

from airscene.experiments.estimators_tables import by_seed, median_time, summary, tables
from airscene.experiments.gradients import GROUPS


def run(accuracy, failed=None, step=None) -> dict:
    place = step and {"step": step, "seconds": step / 10}
    return {
        "count_accuracy": accuracy,
        "failed": failed,
        "bound": None if accuracy is None else 100.0,
        "iterations": 1000,
        "reached": {"0.95": place, "0.98": None},
    }


RUNS = [run(0.99, step=300), run(0.97, step=500), run(None, failed="diverged")]
SPREAD = {"median": 1e-3, "p90": 2e-2}
RESULTS = {
    "config": {"quick": True, "seeds": 3, "stages": [0.1, 1.0]},
    "times": {"enumerate": 12.34},
    "enumeration_overhead": 1.1,
    "variance": {
        "enumerate": {
            stage: {group: {"equal_images": SPREAD, "equal_compute": SPREAD} for group in GROUPS}
            for stage in ("0.1", "1")
        }
    },
    "runs": {"enumerate": RUNS},
}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_failures_count_in_every_figure():
    head, _, row = map(cells, summary(RESULTS).splitlines())
    found = dict(zip(head, row, strict=True))
    assert found["success"] == "2 of 3"
    assert found["accuracy"] == "65.33 % ± 32.67"
    assert found["lowest"] == "0.00 %"
    assert (found["steps to 95 %"], found["s to 95 %"]) == ("500", "50")
    assert (found["steps to 98 %"], found["s to 98 %"]) == ("never", "never")
    assert (found["steps"], found["ms a step"]) == ("1,000", "12.3")


def test_every_seed_is_shown():
    *_, row, _, star = by_seed(RESULTS).splitlines()
    assert cells(row) == ["enumerate", "99.00 %", "97.00 %", "–*"]
    assert star == "\\* diverged"


def test_the_median_seed_may_never_arrive():
    runs = [run(0.99, step=300), run(0.5), run(0.5), run(0.9, step=100)]
    assert median_time(runs, 0.95, "step") == math.inf
    assert median_time(runs[:1], 0.95, "seconds") == 30


def test_the_page_has_a_table_a_stage_and_says_what_it_is():
    page = tables(RESULTS)
    assert "no result" in page
    assert page.count("1.0e-03 / 2.0e-02") == 2 * 2 * len(GROUPS)
    assert "### At 10 % of training, equal compute" in page
    full = RESULTS | {"config": RESULTS["config"] | {"quick": False}}
    assert "no result" not in tables(full)
