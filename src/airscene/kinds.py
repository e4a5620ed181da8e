"""The kinds of models that there are, a row each: everything above `models/` asks the row.

A new kind is a file in `models/` and a row here; the tests of the contract run over all rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from airscene.config import Config
from airscene.core.seeds import Purpose, global_stream
from airscene.data import Composes, Scenes, load_composer
from airscene.data.mnist import Split
from airscene.data.rendered import RenderedScenes
from airscene.models.air import AIR
from airscene.models.air_config import AIRConfig
from airscene.models.autoencoder import Autoencoder, AutoencoderConfig
from airscene.models.base import Model, ModelConfig
from airscene.models.draw import DRAW, DRAWConfig
from airscene.models.rendered import Rendered, RenderedConfig
from airscene.models.tabletop import Tabletop, TabletopConfig
from airscene.models.whole import WholeAIR
from airscene.models.whole_config import WholeConfig
from airscene.painters.by_name import PAINTERS
from airscene.report import findings
from airscene.results.detections import Detections, detect
from airscene.results.labelling import detect_whole
from airscene.results.placements import Placements, place
from airscene.training.objectives import (
    AIRObjective,
    AutoencoderObjective,
    BoundObjective,
    Objective,
    WholeObjective,
)
from airscene.training.rendered import RenderedObjective
from airscene.training.tabletop import TabletopObjective


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
        composer: makes what composes the scenes of a configuration and a split.
        place: finds kind and pose of the objects in images, where the models know 3D scenes.
        samples: importance samples of the tighter bound in an evaluation.
        anneals: whether a training can widen the model's σ.
        whole: whether pictures are taken as they are, of any size, and crops of them learned from.
    """

    name: str
    title: str
    config: type[ModelConfig]
    build: Callable[[Any], Model]
    objective: Callable[[Any, Config], Objective]
    findings: Callable[[Any, Scenes], dict[str, Any]]
    detect: Callable[[Any, Tensor, int | None], Detections] | None
    composer: Callable[[Config, Split, Path | None], Composes]
    place: Callable[[Any, Tensor], Placements] | None = None
    samples: int = 100
    anneals: bool = True
    whole: bool = False


def sprites(config: Config, split: Split, data_dir: Path | None) -> Composes:
    """What composes scenes of sprites."""
    return load_composer(config.scenes, split, data_dir)


def rendered(config: Config, split: Split, data_dir: Path | None) -> Composes:
    """What draws scenes of the model's world, which are of one sort in both splits."""
    height, width = config.scenes.canvas
    model = cast(RenderedConfig | TabletopConfig, config.model)
    model = replace(model, height=height, width=width)
    return RenderedScenes(PAINTERS[model.painter](model.world), model.draw)


ROWS = (
    Kind(
        name="air",
        title="AIR",
        config=AIRConfig,
        build=AIR,
        objective=AIRObjective,
        findings=findings.of_objects,
        detect=detect,
        composer=sprites,
    ),
    Kind(
        name="draw",
        title="DRAW",
        config=DRAWConfig,
        build=DRAW,
        objective=BoundObjective,
        findings=findings.of_drawing,
        detect=None,
        composer=sprites,
        anneals=False,
    ),
    Kind(
        name="autoencoder",
        title="an autoencoder",
        config=AutoencoderConfig,
        build=Autoencoder,
        objective=AutoencoderObjective,
        findings=findings.of_nothing,
        detect=None,
        composer=sprites,
        anneals=False,
    ),
    Kind(
        name="rendered",
        title="a rendered scene",
        config=RenderedConfig,
        build=Rendered,
        objective=RenderedObjective,
        findings=findings.of_rendered,
        detect=None,
        composer=rendered,
        place=place,
    ),
    Kind(
        name="tabletop",
        title="a table-top",
        config=TabletopConfig,
        build=Tabletop,
        objective=TabletopObjective,
        findings=findings.of_rendered,
        detect=None,
        composer=rendered,
        place=place,
        samples=20,  # each of which is a picture
        anneals=False,
    ),
    Kind(
        name="whole",
        title="AIR of whole pictures",
        config=WholeConfig,
        build=WholeAIR,
        objective=WholeObjective,
        findings=findings.of_whole,
        detect=detect_whole,
        composer=sprites,
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
