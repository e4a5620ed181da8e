"""Experiments, one file each: from a config to tables and figures."""

from dataclasses import replace
from pathlib import Path

from airscene.errors import UserError
from airscene.experiments import (
    estimators,
    generalization,
    omniglot,
    representation,
    robustness,
    scenes3d,
    subitizing,
)
from airscene.experiments.workers import open_workers
from airscene.runs import owned

EXPERIMENTS = {
    "estimators": estimators,
    "generalization": generalization,
    "omniglot": omniglot,
    "representation": representation,
    "robustness": robustness,
    "scenes3d": scenes3d,
    "subitizing": subitizing,
}
"""By the name that `airscene reproduce` takes; each has `full_experiment`, `quick_experiment` and
`carry_out`."""


def reproduce(
    name: str,
    out: Path,
    data_dir: Path | None,
    seeds: int | None,
    quick: bool,
    scheduler: str | None = None,
) -> str:
    """Carries out an experiment, or what is left of it.

    Args:
        name: of the experiment.
        out: its folder.
        data_dir: where MNIST lies, if it is not to be downloaded.
        seeds: how many seeds, at least 1; the experiment's own number unless given.
        quick: run the whole on little, as a smoke test.
        scheduler: address of a dask scheduler whose workers do the jobs; they must see the folders
            under the same names. Unless given, processes of this machine do them.

    Returns:
        What to print at the end.

    Raises:
        UserError: there is no such experiment, a setting does not fit it, or another process has
            the folder.
    """
    if name not in EXPERIMENTS:
        raise UserError(f"experiment {name} is unknown; choose one of {', '.join(EXPERIMENTS)}")
    chosen = EXPERIMENTS[name]
    experiment = chosen.quick_experiment() if quick else chosen.full_experiment()
    if seeds is not None:
        experiment = replace(experiment, seeds=seeds)
    if scheduler is not None:  # workers have working directories of their own
        out, data_dir = out.resolve(), data_dir and data_dir.resolve()
    with owned(out), open_workers(scheduler) as workers:
        return chosen.carry_out(experiment, out, data_dir, workers)


__all__ = ["EXPERIMENTS", "reproduce"]
