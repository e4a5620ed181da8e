"""A tiny model's evidence in float64, what its exact gradient is, and ways to mutilate it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch

from airscene.core.counts import CountPosterior
from airscene.estimators import Enumerate, Estimator, Sizes
from airscene.models.air import AIR, Inference

STEPS, COUNTS = 3, 4


class Scene:
    """Images seen by a tiny model with fixed noise, so that only n is left to chance.

    Args:
        air: the model.
        batch: images B.
        samples: samples K of the latents of each.
    """

    def __init__(self, air: AIR, batch: int, samples: int = 1):
        self.air, self.samples = air, samples
        c = air.config
        self.image = torch.rand(batch, 1, c.height, c.width).repeat_interleave(samples, 0)
        self.noise = torch.randn(batch * samples, STEPS, air.latents)
        self.sizes = Sizes(c.height * c.width, STEPS, 1 + air.latents)

    def infer(self, reparameterised: bool = True) -> Inference:
        return self.air(self.image, self.noise, reparameterised=reparameterised)

    def gradient(self, loss: torch.Tensor) -> torch.Tensor:
        """The gradient of `loss` by all of the model's parameters, zero where there is none."""
        parameters = list(self.air.parameters())
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(parameters, grads, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])

    def decoder_gradient(self, loss: torch.Tensor) -> torch.Tensor:
        """The gradient of `loss` by the parameters θ of generation."""
        grads = torch.autograd.grad(loss, list(self.air.decoder.parameters()))
        return torch.cat([grad.flatten() for grad in grads])

    def enumerated(self) -> torch.Tensor:
        return self.gradient(Enumerate()(self.infer()).loss)

    def pathwise(self) -> torch.Tensor:
        """The part of the enumerated gradient that flows through the scores alone."""
        return self.gradient(Enumerate()(without_score_term(self)).loss)


@dataclass(frozen=True)
class Parts:
    """Evidence part by part, so that one can be put in place of another."""

    posterior: CountPosterior
    context: torch.Tensor
    latents: torch.Tensor
    score: Callable
    log_likelihood: Callable
    log_joint: Callable
    log_posterior: Callable


PARTS = tuple(field.name for field in fields(Parts))
FUNCTIONS = PARTS[3:]


def altered(evidence: Any, **changes: Any) -> Parts:
    """Evidence with some of its parts replaced."""
    return Parts(**{name: getattr(evidence, name) for name in PARTS} | changes)


def intact(scene: Scene) -> Inference:
    return scene.infer()


def wrong_sign(scene: Scene) -> Parts:
    """The same probabilities, but the gradient through them has the wrong sign."""
    inference = scene.infer()
    logits = inference.posterior.logits
    return altered(inference, posterior=CountPosterior(2 * logits.detach() - logits))


def without_score_term(scene: Scene) -> Parts:
    """No gradient through the probabilities of the counts."""
    inference = scene.infer()
    return altered(inference, posterior=CountPosterior(inference.posterior.logits.detach()))


def without_pathwise_term(scene: Scene) -> Parts:
    """No gradient through the scores, but for the one by the presence mask."""
    with torch.no_grad():
        frozen = scene.infer()
    return altered(scene.infer(), **{name: getattr(frozen, name) for name in FUNCTIONS})


MUTANTS = [wrong_sign, without_pathwise_term, without_score_term]


def many(evidence: Any, rows: int) -> Parts:
    """One image's evidence as that of so many equal rows."""
    functions = {name: partial(_of_one_row, getattr(evidence, name), rows) for name in FUNCTIONS}
    return Parts(
        posterior=CountPosterior(evidence.posterior.logits.expand(rows, -1)),
        context=evidence.context.expand(rows, -1),
        latents=evidence.latents.expand(rows, -1, -1),
        **functions,
    )


def _of_one_row(score: Callable, rows: int, presence: torch.Tensor | None = None) -> torch.Tensor:
    """Masks (..., rows, N) as masks (..., rows, 1, N) of the one row there is."""
    if presence is None:
        return score().expand(-1, rows)
    return score(presence.unsqueeze(-2)).squeeze(-1)


def exact_expectation(
    scene: Scene,
    make: Callable[[], Estimator],
    monkeypatch: pytest.MonkeyPatch,
    evidence: Callable[[Scene], Any] = intact,
) -> torch.Tensor:
    """The gradient of every drawing of counts to the rows, weighted by its probability."""
    probs = scene.infer().posterior.log_probs.exp().detach()
    total = torch.zeros(())
    for counts in product(range(COUNTS), repeat=len(probs)):
        with monkeypatch.context() as patch:
            patch.setattr(CountPosterior, "sample", lambda self, n=counts: torch.tensor(n))
            gradient = scene.gradient(make()(evidence(scene)).loss)
        total = total + torch.stack([probs[r, n] for r, n in enumerate(counts)]).prod() * gradient
    return total


def z_scores(
    scene: Scene, estimator: Estimator, evidence: Callable[[Scene], Any] = intact
) -> torch.Tensor:
    """How many standard errors the mean of many gradients is from the enumerated one.

    40 chunks of 1,000 rows of the one image are drawn; the error is that of the chunks' mean.
    """
    torch.manual_seed(3)
    chunks = torch.stack(
        [scene.gradient(estimator(many(evidence(scene), 1000)).loss) for _ in range(40)]
    )
    exact = scene.enumerated()
    error = chunks.std(0) / len(chunks) ** 0.5
    return (chunks.mean(0) - exact) / error.clamp(min=1e-9 * float(exact.abs().max()))


def assert_same(value: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def assert_other(value: torch.Tensor, expected: torch.Tensor) -> None:
    """By more than a hundredth of the largest component."""
    assert (value - expected).abs().max() > 0.01 * expected.abs().max()


def descend(
    estimator: Estimator, evidence: Any, optimiser: torch.optim.Optimizer, steps: int, name: str
) -> list[float]:
    """A diagnostic at each of so many steps of the estimator's own parameters."""
    values = []
    for _ in range(steps):
        optimiser.zero_grad()
        found = estimator(evidence)
        found.loss.backward(retain_graph=True)
        optimiser.step()
        values.append(float(found.diagnostics[name]))
    return values
