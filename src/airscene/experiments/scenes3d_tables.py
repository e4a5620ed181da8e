"""The experiment on 3D scenes as Markdown, from the plain values of results.json."""

import statistics
from collections.abc import Sequence
from typing import Any

from airscene.experiments.supervised import MOST_ATTENDED
from airscene.experiments.tables import NONE, page, table

NOTES = (
    "Held-out scenes. Positions are distances on a table on which objects lie from −1 to 1. Yaws "
    "are medians in degrees up to the symmetry of the kind: a quarter turn for the cube. Cells "
    "hold every seed, in order; seconds are those of training, labelled scenes included."
)
DIRECT = (
    "Direct optimisation: {success_of_a_start:.0%} of the random starts end at the true kind, "
    "within 0.1 of the true position and 20° of the true yaw; of the best of {starts} starts of a "
    "picture, {success_of_the_best:.0%} do. It takes {seconds_a_picture:.2f} s a picture; "
    "inference by the network takes {milliseconds:.2f} ms."
)
COLUMNS = [
    ("count, %", "count_accuracy", "{:.1f}", 100.0),
    ("where a kind repeats", "count_accuracy_with_repeats", "{:.1f}", 100.0),
    ("identity, %", "identity_accuracy", "{:.1f}", 100.0),
    ("position", "position_error", "{:.3f}", 1.0),
    ("camera, °", "camera_error_degrees", "{:.2f}", 1.0),
]
"""Of the table-top: title, name of the figure, format, factor."""
Runs = Sequence[dict[str, Any]]


def tables(results: dict[str, Any]) -> str:
    """All of it as a page."""
    return page("3D scenes", results["config"]["quick"], [NOTES, summary(results)])


def summary(results: dict[str, Any]) -> str:
    """Both tables, and what direct optimisation takes."""
    top = table_top(results["table_top"], results["table_top_labels"])
    return "\n\n".join([one_object(results["one_object"]), _direct(results), top])


def one_object(ways: dict[str, Runs]) -> str:
    """A row a way to learn."""
    head = ["learned by", "identity, %", "position", "yaw of the cube", "of the cylinder", "s"]
    return table(head, [_row(way, runs) for way, runs in ways.items()])


def _row(way: str, runs: Runs) -> list[str]:
    return [
        way,
        _every(runs, "identity_accuracy", "{:.1f}", 100),
        _every(runs, "position_error", "{:.3f}"),
        _every(runs, "yaw_error_degrees_cube", "{:.1f}"),
        _every(runs, "yaw_error_degrees_cylinder", "{:.1f}"),
        f"{statistics.fmean(run['training_seconds'] for run in runs):,.0f}",
    ]


def table_top(runs: Runs, told: dict[str, Runs]) -> str:
    """A row a way to learn and a kind of data, in which a kind may repeat or not."""
    both = {"with repeats": runs, "without repeats": [run["without_repeats"] for run in runs]}
    modes = {data: [run[MOST_ATTENDED] for run in those] for data, those in told.items()}
    ways = {"dreams with repeats": both, "labels": told, "labels, a mode": modes}
    names = sorted({name for run in runs for name in run if name.startswith("yaw_error")})
    yaws = [(f"yaw of a {name.split('_')[-1]}", name, "{:.1f}", 1.0) for name in names]
    columns = [*COLUMNS, *yaws, ("s", "training_seconds", "{:,.0f}", 1.0)]
    rows = [
        [way, data, *(_every(those, name, form, scale) for _, name, form, scale in columns)]
        for way, parts in ways.items()
        for data, those in parts.items()
    ]
    return table(["table-top by", "data", *(title for title, *_ in columns)], rows)


def _every(runs: Runs, name: str, form: str, scale: float = 1.0) -> str:
    """A figure of every seed."""
    values = [run.get(name) for run in runs]
    return " ".join(NONE if value is None else form.format(scale * value) for value in values)


def _direct(results: dict[str, Any]) -> str:
    recipe = next(iter(results["one_object"].values()))
    speed = statistics.fmean(run["images_per_second"] for run in recipe)
    known = results["direct"] | {"starts": results["config"]["starts"]}
    return DIRECT.format(milliseconds=1000 / speed, **known)
