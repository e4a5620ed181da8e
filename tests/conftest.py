"""Shape checks for every module with shapes in its types, and the models that tests share."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from jaxtyping import install_import_hook

SHAPED = (
    "core.spatial",
    "core.compositors",
    "core.counts",
    "core.layers",
    "core.networks",
    "models",
    "estimators",
    "results.metrics",
    "results.detections",
    "painters.base",
    "painters.differences",
    "painters.perspective",
    "painters.raycast",
    "results.placements",
)

# Before anything imports airscene. The modules above these hold no shaped types, and are called in
# their own tests with stand-ins that a checker of all types would refuse.
install_import_hook([f"airscene.{name}" for name in SHAPED], "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402
from torch.distributions import Normal  # noqa: E402

from airscene.core.compositors import Composition, Layers  # noqa: E402
from airscene.core.counts import CountPosterior  # noqa: E402
from airscene.models.air import AIR, Inference  # noqa: E402
from airscene.models.air_config import AIRConfig  # noqa: E402
from airscene.training.loop import Trainer  # noqa: E402

# A shell that runs the tests in the background lets them ignore Ctrl-C, which some of them press.
signal.signal(signal.SIGINT, signal.default_int_handler)


class KnownAIR(AIR):
    """A model whose posterior was made by hand: each image is what its objects paint.

    Args:
        objects: what each step paints, shape (B, N, H, W).
        logits: presence logits, shape (B, N).
        image: the images, shape (B, 1, H, W); the sum of all objects unless given.
        window: the windows (cx, cy, side), shape (B, N, 3).
    """

    def __init__(self, objects, logits, image=None, window=None):
        height, width = objects.shape[-2:]
        super().__init__(AIRConfig(height=height, width=width, glimpse=2, what=1, lstm=1, hidden=1))
        self.objects, self.logits = objects.unsqueeze(2), logits
        self.image = self.objects.sum(1) if image is None else image
        self.windows = torch.ones(*logits.shape, 3) if window is None else window

    def infer(self, image, steps=None, sample=False) -> Inference:
        """The posterior of the known images that equal those given."""
        same = (image[:, None] == self.image[None]).flatten(2).all(2)
        index = same.int().argmax(1)
        shape = self.logits[index].shape
        where, what = torch.zeros(*shape, 3), torch.zeros(*shape, 1)
        prior, objects = self.prior(shape[-1]), self.objects[index]
        layers = Layers(objects, None, torch.zeros(*shape, 2, dtype=torch.long))
        behind = torch.zeros_like(image)
        return Inference(
            posterior=CountPosterior(self.logits[index]),
            q_where=Normal(prior.where.loc.expand(where.shape), prior.where.scale),
            q_what=Normal(what, 1.0),
            q_background=self.background.posterior(image),
            where=where,
            what=what,
            background=what[:, 0, :0],
            window=self.windows[index],
            scene=Composition(image, behind, layers, self.compositor, self.sigma),
            prior=prior,
        )


@pytest.fixture
def known_air() -> type[KnownAIR]:
    """How to make a model with a posterior made by hand."""
    return KnownAIR


@pytest.fixture
def double() -> Iterator[None]:
    """Float64 wherever no type is named, so that tolerances need not make room for rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def tiny_config() -> AIRConfig:
    """The smallest model worth testing: a canvas that is not square, three steps."""
    sizes = {"height": 10, "width": 12, "glimpse": 5, "what": 2, "lstm": 8, "hidden": 8}
    return AIRConfig(steps=3, **sizes, scale_prior=(-0.4, 0.2), shift_prior=(0.0, 1.0))


@pytest.fixture
def tiny_air(tiny_config: AIRConfig, double: None) -> AIR:
    """A tiny model in float64, the same one every time, its outputs far from their start."""
    torch.manual_seed(0)
    air = AIR(tiny_config)
    with torch.no_grad():  # at its start a model hardly looks at its input
        for parameter in air.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return air


@pytest.fixture
def ctrl_c_after(monkeypatch) -> Callable[[int], AbstractContextManager[None]]:
    """A context in which Ctrl-C is pressed during the given step of any training."""

    @contextmanager
    def pressed(step: int) -> Iterator[None]:
        plain = Trainer.train_step

        def train_step(trainer: Trainer):
            if trainer.position.step == step - 1:
                signal.raise_signal(signal.SIGINT)
            return plain(trainer)

        with monkeypatch.context() as changed:
            changed.setattr(Trainer, "train_step", train_step)
            yield

    return pressed
