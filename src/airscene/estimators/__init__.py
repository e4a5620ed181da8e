"""Gradient estimators for the number of objects, one class each, all with the same call."""

from collections.abc import Callable

from airscene.estimators.base import Estimate, EstimationConfig, Estimator, Evidence, Sizes
from airscene.estimators.control_variates import Rebar, Relax
from airscene.estimators.enumeration import Enumerate, expected_bound
from airscene.estimators.measure_valued import MeasureValued
from airscene.estimators.multi_sample import IWAE, RWS, VIMCO
from airscene.estimators.relaxed import Concrete
from airscene.estimators.score_function import (
    NVIL,
    Reinforce,
    ReinforceAverage,
    ReinforceNeural,
    ReinforceSteps,
)

ESTIMATORS: dict[str, Callable[[Sizes, EstimationConfig], Estimator]] = {
    "enumerate": lambda sizes, settings: Enumerate(),
    "reinforce": lambda sizes, settings: Reinforce(),
    "reinforce-average": lambda sizes, settings: ReinforceAverage(),
    "reinforce-neural": lambda sizes, settings: ReinforceNeural(sizes),
    "reinforce-steps": lambda sizes, settings: ReinforceSteps(sizes),
    "nvil": lambda sizes, settings: NVIL(sizes),
    "vimco": lambda sizes, settings: VIMCO(settings.samples),
    "iwae": lambda sizes, settings: IWAE(settings.samples),
    "concrete": lambda sizes, settings: Concrete(settings.straight_through),
    "rebar": lambda sizes, settings: Rebar(),
    "relax": lambda sizes, settings: Relax(sizes),
    "mvd": lambda sizes, settings: MeasureValued(),
    "rws": lambda sizes, settings: RWS(settings.samples),
}
"""How to make each estimator by the name that `--estimator` takes."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "enumerate": (),
    "reinforce": (),
    "reinforce-average": (),
    "reinforce-neural": ("baseline_rate",),
    "reinforce-steps": ("baseline_rate",),
    "nvil": ("baseline_rate",),
    "vimco": ("samples",),
    "iwae": ("samples",),
    "concrete": ("temperature", "straight_through"),
    "rebar": ("baseline_rate",),
    "relax": ("baseline_rate",),
    "mvd": (),
    "rws": ("samples",),
}
"""The fields of `EstimationConfig` that each estimator reads; the others do not change it."""

__all__ = [
    "ESTIMATORS",
    "IWAE",
    "NVIL",
    "RWS",
    "SETTINGS",
    "VIMCO",
    "Concrete",
    "Enumerate",
    "Estimate",
    "EstimationConfig",
    "Estimator",
    "Evidence",
    "MeasureValued",
    "Rebar",
    "Reinforce",
    "ReinforceAverage",
    "ReinforceNeural",
    "ReinforceSteps",
    "Relax",
    "Sizes",
    "expected_bound",
]
