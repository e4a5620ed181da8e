"""What a trained run is worth: its evaluation, and the report that shows it."""

import math
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from airscene.core.seeds import Purpose, global_stream
from airscene.data import Scenes
from airscene.errors import UserError
from airscene.files import finite, is_number, read_json, write_json
from airscene.kinds import kind_of
from airscene.models.whole import WholeAIR
from airscene.report.page import ReportData, write_report
from airscene.results.evaluation import affordable_scenes, evaluate
from airscene.results.gallery import Gallery, gallery
from airscene.runs.crops import held_out_pictures
from airscene.runs.folder import EVALUATION
from airscene.runs.run import Run
from airscene.training.logging import read_metrics
from airscene.training.snapshots import load_snapshots

REPORT_SCENES = 2000
EVALUATED = 0.05  # share of the minutes that training and all may take
NUMBERS_OF = ("step", "scenes", "bound_samples", "bound_scenes")  # what is counted, in the table
MOST = 2**53  # above, floats are no longer exact
HELD_OUT = "held-out"  # in evaluation.json: the scenes were the run's own


def evaluate_run(run: Run, scenes: Scenes, data: Path | None = None) -> dict[str, Any]:
    """Evaluates a run on scenes.

    Args:
        run: a trained run.
        scenes: what to evaluate on.
        data: where the scenes came from, if they are not the run's own held-out ones.

    Returns:
        The figures by name, None where one is not known; with them, the step and a hash of the
        weights to which they belong.
    """
    table = {"data": str(data.resolve()) if data else HELD_OUT}
    table |= {"step": run.position.step, "weights": run.weights}
    return table | finite(evaluate(run.model, scenes, kind_of(run.config.model).samples))


def in_time(run: Run, scenes: Scenes, minutes: float) -> Scenes:
    """As many of the scenes as can be evaluated in a small share of some minutes, with a note.

    Args:
        run: a trained run.
        scenes: its own held-out ones.
        minutes: that training, evaluation and report may take in all.
    """
    if math.isinf(minutes):
        return scenes
    with global_stream(Purpose.EVALUATION, 0):
        samples, seconds = kind_of(run.config.model).samples, EVALUATED * 60 * minutes
        number = affordable_scenes(run.model, scenes, samples, seconds)
    if number < len(scenes):
        warnings.warn(
            f"evaluated on the first {number:,} of {len(scenes):,} scenes, as there is no time for "
            f"more; airscene evaluate {run.path} takes all",
            stacklevel=2,
        )
    return scenes[:number]


def save_evaluation(run: Run, table: dict[str, Any]) -> Path:
    """Writes a run's evaluation.json.

    Args:
        run: the run that was evaluated.
        table: what `evaluate_run` found on its own held-out scenes.
    """
    return write_json(run.path / EVALUATION, table)


def report_run(run: Run, scenes: Scenes, data: Path | None = None) -> Path:
    """Draws the figures of a run and writes its report.html.

    Args:
        run: a trained run.
        scenes: its own held-out scenes; they are evaluated first, unless evaluation.json is of the
            same weights.
        data: where the run's own pictures lie now, if they were moved.
    """
    evaluation = read_evaluation(run)
    if not evaluation:
        evaluation = evaluate_run(run, scenes)
        save_evaluation(run, evaluation)
    report = ReportData(
        title=f"airscene: {run.path.resolve().name}",
        config=asdict(run.config),
        metrics=read_metrics(run.path),
        evaluation=evaluation,
        stages=load_snapshots(run.path),
        canvas=(run.config.model.height, run.config.model.width),
        gallery=_gallery(run, data),
        **kind_of(run.config.model).findings(run.model, scenes[:REPORT_SCENES]),
    )
    return write_report(report, run.path)


def _gallery(run: Run, data: Path | None) -> Gallery | None:
    """The objects in a run's held-out pictures, where it has whole pictures."""
    if not kind_of(run.config.model).whole:
        return None
    pictures = held_out_pictures(run.config, run.path, data)
    return gallery(cast(WholeAIR, run.model), [picture / 255 for picture in pictures])


def read_evaluation(run: Run) -> dict[str, Any]:
    """What evaluation.json says of the run's weights; nothing where it says nothing of them."""
    try:
        table = read_json(run.path / EVALUATION)
    except UserError:
        return {}
    known = {"data": HELD_OUT, "step": run.position.step, "weights": run.weights}
    sound = isinstance(table, dict) and all(_is_figure(*item) for item in table.items())
    return table if sound and known.items() <= table.items() else {}


def _is_figure(name: str, value: Any) -> bool:
    """Whether a value is one that an evaluation has under this name."""
    if name in ("data", "weights"):
        return isinstance(value, str)
    if name == "count_histogram":
        return _are_counts(value)
    if name == "count_confusion":
        return isinstance(value, list) and all(
            _are_counts(row) and len(row) == len(value[0]) >= len(value) for row in value
        )
    if name in NUMBERS_OF:
        return type(value) is int and 0 <= value < MOST
    return value is None or is_number(value)


def _are_counts(value: Any) -> bool:
    whole = isinstance(value, list) and all(type(n) is int and 0 <= n < MOST for n in value)
    return whole and len(value) > 0
