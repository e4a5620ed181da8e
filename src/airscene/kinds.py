"""The kinds of models that there are, a row each: everything above `models/` asks the row.

A new kind is a file in `models/` and a row here; the tests of the contract run over all rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from airscene import findings
from airscene.config import Config
from airscene.data import Scenes
from airscene.detections import Detections, detect
from airscene.labelling import detect_whole
from airscene.models.air import AIR, AIRConfig
from airscene.models.base import Model, ModelConfig
from airscene.models.draw import DRAW, DRAWConfig
from airscene.models.whole import WholeAIR
from airscene.models.whole_config import WholeConfig
from airscene.seeds import Purpose, global_stream
from airscene.training.objectives import AIRObjective, BoundObjective, Objective, WholeObjective


@dataclass(frozen=True)
class Kind:
    """What can be done with the models of a kind.

    Attributes:
        name: as `config.json` names it.
        title: as messages name it.
        config: class of the models' configurations.
        build: makes an untrained model of such a configuration.
        objective: makes the loss by which a model is trained, as the run's configuration says.
        findings: what the report shows of a trained model on scenes, as fields of `ReportData`.
        detect: finds up to so many objects in images of shape (M, C, H, W), or up to the model's
            own N; None where the models have no objects.
        samples: importance samples of the tighter bound in an evaluation.
        whole: whether pictures are taken as they are, of any size, and crops of them learned from.
    """

    name: str
    title: str
    config: type[ModelConfig]
    build: Callable[[Any], Model]
    objective: Callable[[Any, Config], Objective]
    findings: Callable[[Any, Scenes], dict[str, Any]]
    detect: Callable[[Any, Tensor, int | None], Detections] | None
    samples: int = 100
    whole: bool = False


ROWS = (
    Kind(
        name="air",
        title="AIR",
        config=AIRConfig,
        build=AIR,
        objective=AIRObjective,
        findings=findings.of_objects,
        detect=detect,
    ),
    Kind(
        name="draw",
        title="DRAW",
        config=DRAWConfig,
        build=DRAW,
        objective=BoundObjective,
        findings=findings.of_drawing,
        detect=None,
    ),
    Kind(
        name="whole",
        title="AIR of whole pictures",
        config=WholeConfig,
        build=WholeAIR,
        objective=WholeObjective,
        findings=findings.of_whole,
        detect=detect_whole,
        samples=5,  # a pass of many crops is slow, and the bound is no measure of counts
        whole=True,
    ),
)

KINDS = {kind.name: kind for kind in ROWS}


def kind_of(config: ModelConfig) -> Kind:
    """The row of a model's configuration."""
    return next(kind for kind in ROWS if kind.config is type(config))


def make_objective(config: Config) -> Objective:
    """An untrained model with its loss, whose weights are decided by the configuration's seed."""
    kind = kind_of(config.model)
    with global_stream(Purpose.WEIGHTS, config.seed):
        return kind.objective(kind.build(config.model), config)
