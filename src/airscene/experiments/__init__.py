"""Experiments, one file each: from a config to tables and figures."""

from collections.abc import Callable
from pathlib import Path

from airscene.errors import UserError
from airscene.experiments.estimators import compare_estimators
from airscene.experiments.generalization import generalize
from airscene.experiments.robustness import sweep

EXPERIMENTS: dict[str, Callable[[Path, Path | None, int | None, bool], str]] = {
    "estimators": compare_estimators,
    "generalization": generalize,
    "robustness": sweep,
}
"""By the name that `airscene reproduce` takes: (out, data_dir, seeds, quick) to what to print."""


def reproduce(name: str, out: Path, data_dir: Path | None, seeds: int | None, quick: bool) -> str:
    """Carries out an experiment, or what is left of it.

    Args:
        name: of the experiment.
        out: its folder.
        data_dir: where MNIST lies, if it is not to be downloaded.
        seeds: how many seeds; the experiment's own number unless given.
        quick: run the whole on little, as a smoke test.

    Returns:
        What to print at the end.

    Raises:
        UserError: there is no such experiment, or a setting does not fit it.
    """
    if name not in EXPERIMENTS:
        raise UserError(f"experiment {name} is unknown; choose one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name](out, data_dir, seeds, quick)


__all__ = ["EXPERIMENTS", "reproduce"]
