"""AIR of whole pictures: of any size, with any number of objects.

Generation: objects are scattered over the picture by a Poisson process, so that their number has no
largest value and their positions are uniform. For each, what ~ N(0, I) and the logarithm of its
window's side, in the expected side, ~ N(m, s²), where m and s are learned. The decoder paints what,
the painted objects add up on black, and x ~ N(canvas, σ²) in each pixel.

Inference goes in passes. In each, the places that are most salient in what is left of the picture
(`airscene.models.places`) are explained at once, each from its own surroundings: a glance gives the
presence logit and the window, as an offset from the place in object sides, and a glimpse of the
window gives what. What is painted, times its presence probability, is then taken off the picture.
The gradient does not pass through what is left, as in DAIR (`airscene.models.air`).

The presences m_k ~ Bernoulli(s_k) of all places are independent, so the expected error is known
exactly, whatever overlaps, without any enumeration:

    E‖x - Σ m_k p_k‖² = ‖x - Σ s_k p_k‖² + Σ s_k (1 - s_k) ‖p_k‖².

A Poisson process of intensity λ an object's area has the density λⁿ exp(-λ A) over sets of n places
in an area A, both areas in squared sides. So each object costs -log λ, the same wherever it is and
however large the picture, and each place is decided by itself.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Normal

from airscene.core import layers, spatial
from airscene.core.networks import MLP, normal, raw_of, spread
from airscene.models.appearance import CoarseLightDecoder, CoarseLightEncoder
from airscene.models.base import Model
from airscene.models.objects import Objects, turns
from airscene.models.places import TRIED, Sheet, find_places, pasted
from airscene.models.poisson import PoissonScore, WholeInference
from airscene.models.regrouping import Regrouping
from airscene.models.view import View
from airscene.models.whole_config import GLANCE, ROOM, WholeConfig

WHERE = 3  # log side, x, y
READ = 3  # glances at a place: of what is left, of the picture, and of where the picture is
SIGMA = 0.3  # of a model that is built before any picture was seen
START_SHIFT_STD = 0.1  # of a window's centre around its place, in sides
SMALLEST = 4.0  # pixels of a window's side
NEIGHBOURS = 1.2  # how near to each other objects have to do with each other, in sides
ODDS_UNIT = 10.0  # nats, in which the log odds of presence are weighed
START_ODDS_WEIGHT = 0.1  # of them
PASSES, MOST_PASSES = 4, 50  # in training, and in a picture that never seems to be explained
SIZES_RATE = 5.0  # how many times as fast as weights the prior of sizes is learned
AT_ONCE = 4096  # places that are explained at a time


class WholeAIR(Model[WholeConfig]):
    """The model and its inference network.

    Args:
        config: shape and priors.
    """

    def __init__(self, config: WholeConfig):
        super().__init__()
        self.config = c = config
        self.attend = MLP([READ * c.glimpse**2, c.hidden, c.hidden, 1 + 2 * WHERE])
        self.encoder = CoarseLightEncoder(1, c.glimpse, c.hidden, c.what)
        self.decoder = CoarseLightDecoder(1, c.glimpse, c.hidden, c.what)
        self.sigma: Tensor
        self.register_buffer("sigma", torch.ones(()), persistent=False)
        self.log_odds: Tensor
        self.register_buffer("log_odds", torch.zeros(()))
        self.odds_weight = nn.Parameter(torch.tensor(START_ODDS_WEIGHT))
        self.sizes = nn.Parameter(torch.zeros(2))
        self.widen(1.0)
        last = cast(nn.Linear, self.attend[-1])
        last.weight.data.mul_(0.1)
        raw = [raw_of(std) for std in (c.side_std, START_SHIFT_STD, START_SHIFT_STD)]
        last.bias.data.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, *raw]))

    @property
    def latents(self) -> int:
        """Latent dimensions of one object: where and what."""
        return WHERE + self.config.what

    @property
    def margin(self) -> int:
        """Pixels around a picture over which windows may reach."""
        return max(self.config.patch, self.config.region)

    def widen(self, factor: float) -> None:
        """Lets pixels spread around the canvas by so many times the model's own sigma."""
        own = SIGMA if self.config.sigma is None else self.config.sigma
        self.sigma.fill_(factor * own)

    def forward(
        self,
        image: Float[Tensor, "batch 1 height width"],
        noise: Float[Tensor, "batch steps latents"],
    ) -> WholeInference:
        """A few passes over a batch of crops, up to N places in each.

        Args:
            image: prepared pictures in [0, 1], shape (B, 1, H, W).
            noise: standard normal noise for where and what, shape (B, N, 3 + D).
        """
        sheet = Sheet.of(image, self.margin)
        canvas, used = torch.zeros_like(sheet.image), torch.zeros_like(noise[:, 0, 0]).long()
        passes = []
        for _ in range(PASSES):
            row, pixel = self._places(sheet)
            slot = used[row] + _rank(row)
            some = slot < noise.shape[1]
            row, pixel, slot = row[some], pixel[some], slot[some]
            used = used + row.bincount(minlength=len(used))
            passes.append(found := self.explain(sheet, row, pixel, noise[row, slot]))
            paint = found.logit.sigmoid()[:, None, None, None] * found.paint
            canvas = pasted(canvas, row, found.corner, paint)
            sheet = sheet.less(row, found.corner, paint).without(row, pixel, self._tried)
        return WholeInference(sheet, Objects.join(passes), canvas)

    def explain(
        self,
        sheet: Sheet,
        row: Int[Tensor, "places"],
        pixel: Int[Tensor, "places 2"],
        noise: Float[Tensor, "places latents"],
    ) -> Objects:
        """What is at some places, each seen by itself.

        Args:
            sheet: what is left to explain.
            row: the picture of each place, shape (T,).
            pixel: the place (y, x) in the sheet, shape (T, 2).
            noise: standard normal noise for where and what, shape (T, 3 + D); zeros give the means.
        """
        c, centre = self.config, pixel.flip(-1).to(sheet.image.dtype) + 0.5
        around = F.pad(centre, (0, 1), value=GLANCE * c.side)
        logit, q_where = self._locate(sheet, row, around)
        where = q_where.loc + q_where.scale * noise[:, :WHERE]
        side = (c.side * where[:, :1].exp()).clamp(SMALLEST, c.patch - ROOM)
        window = torch.cat([centre + c.side * where[:, 1:], side], -1)
        q_what = self.encoder.describe(*_piece(sheet.left, row, window, c.patch))
        what = q_what.loc + q_what.scale * noise[:, WHERE:]
        corner, paint = self._paint(sheet, row, window, what)
        found = Objects(row, logit, q_where, q_what, where, what, window, paint, corner)
        left = layers.under(sheet.left[:, 0], row, corner, layers.size_of(paint))
        odds = self.score.odds(found, left)
        return replace(found, logit=logit + self.odds_weight * odds / ODDS_UNIT)

    @torch.no_grad()
    def explain_whole(self, picture: Float[Tensor, "1 height width"], strip: int = 1024) -> Objects:
        """All objects of one picture of any size, at the posterior's means.

        Passes go on until no place is left that is worth a look. An object is present if that is
        more probable than not; what it paints is then taken off the picture, and nothing else is.
        Objects that have neighbours are then seen once more, as all others are explained, and
        explained in other ways where these are better (`airscene.models.regrouping`).

        Args:
            picture: prepared, in [0, 1], shape (1, H, W).
            strip: rows of pixels that are searched at a time; it changes nothing but the memory.

        Returns:
            The present objects, their windows and corners in pixels of the picture, which corners
            may lie outside of by up to `margin`.
        """
        sheet, found = self._seen_again(*self._passes(picture, strip))
        regroup = Regrouping(self._at, self.score, self.config.side)
        sheet, found, changed = regroup(sheet, found)
        _, found = self._seen_again(sheet, found, changed)
        return found[found.logit > 0].moved(-self.margin)

    def _passes(self, picture: Tensor, strip: int) -> tuple[Sheet, Objects]:
        """What passes find, until no place is left that is worth a look, and what they leave."""
        sheet = Sheet.of(picture.unsqueeze(0), self.margin)
        parts = [self._at(sheet, *self._no_places(sheet))]
        for _ in range(MOST_PASSES):
            row, pixel = self._places(sheet, strip)
            if not len(row):
                break
            found = [self._at(sheet, *part) for part in _portions(row, pixel)]
            present = [part[part.logit > 0] for part in found]
            for part in present:
                sheet = sheet.less(part.row, part.corner, part.paint)
            sheet = sheet.without(row, pixel, self._tried)
            parts += present
        return sheet, Objects.join(parts)

    def _seen_again(
        self, sheet: Sheet, found: Objects, changed: np.ndarray | None = None
    ) -> tuple[Sheet, Objects]:
        """Objects that have neighbours, inferred once more in turns, and what they leave.

        One that is not present any more is left out.

        Args:
            sheet: what the objects leave of the picture.
            found: the objects.
            changed: which of them are inferred again, shape (T,); all unless given.
        """
        present = torch.ones(len(found), dtype=torch.bool, device=found.row.device)
        for numbers in turns(found.middle, NEIGHBOURS * self.config.side):
            numbers = numbers if changed is None else numbers[changed[numbers]]
            at = torch.from_numpy(numbers).to(found.row.device)
            for some in at.split(AT_ONCE):
                old = found[some]
                sheet = sheet.less(old.row, old.corner, -old.paint)
                new = self._at(sheet, old.row, self._place(old))
                found, present[some] = found.put(some, new), new.logit > 0
                new = new[new.logit > 0]
                sheet = sheet.less(new.row, new.corner, new.paint)
        return sheet, found[present]

    def _place(self, objects: Objects) -> Tensor:
        """The pixels (y, x) from which objects were found, shape (T, 2)."""
        centre = objects.window[:, :2] - self.config.side * objects.where[:, 1:]
        return (centre - 0.5).round().long().flip(-1)

    def infer(
        self, image: Float[Tensor, "batch 1 height width"], *, sample: bool = False
    ) -> WholeInference:
        """See `Model.infer`."""
        draw = torch.randn if sample else torch.zeros
        with torch.no_grad():
            noise = draw(len(image), self.config.steps, self.latents, device=image.device)
            return self(image, noise)

    @property
    def score(self) -> PoissonScore:
        """How well objects explain crops, at the present odds and sigma."""
        return PoissonScore(self.log_odds, self.sigma, self.side)

    @property
    def side(self) -> Normal:
        """The learned prior of the logarithm of a window's side, in expected sides; scalars."""
        mean, spread_out = SIZES_RATE * self.sizes
        return normal(mean, self.config.side_std * spread_out.exp())

    @torch.no_grad()
    def elbo(self, image: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch"]:
        """See `Model.elbo` and `PoissonScore.bound`."""
        return self.score.bound(self.infer(image, sample=True))

    @torch.no_grad()
    def log_likelihood(self, image: Float[Tensor, "batch 1 height width"], samples: int):
        """See `Model.log_likelihood`: presences, windows and codes are all sampled, shape (B,)."""
        weights = [self.score.log_weight(self.infer(image, sample=True)) for _ in range(samples)]
        return torch.stack(weights).logsumexp(0) - math.log(samples)

    @torch.no_grad()
    def reconstruct(self, image: Float[Tensor, "batch 1 height width"]) -> Tensor:
        """See `Model.reconstruct`: the objects that are more probable than not."""
        found = self.infer(image)
        present = found.objects[found.objects.logit > 0]
        canvas = torch.zeros_like(found.canvas)
        return found.sheet.inner(pasted(canvas, present.row, present.corner, present.paint))

    @torch.no_grad()
    def generate(self, number: int) -> tuple[Tensor, Tensor]:
        """See `Model.generate`: n follows the Poisson process."""
        c, device = self.config, self.device
        rate = self.log_odds.exp() * c.height * c.width / c.side**2
        count = torch.poisson(rate.expand(number))
        row = torch.arange(number, device=device).repeat_interleave(count.long())
        size = torch.tensor([c.width, c.height], device=device)
        centre = torch.rand(len(row), 2, device=device) * size + self.margin
        side = c.side * self.side.sample((len(row), 1)).exp()
        side = side.clamp(SMALLEST, c.patch - ROOM)
        what = torch.randn(len(row), c.what, device=device)
        blank = torch.zeros(number, 1, c.height, c.width, device=device)
        sheet = Sheet.of(blank, self.margin)
        corner, paint = self._paint(sheet, row, torch.cat([centre, side], -1), what)
        return sheet.inner(pasted(sheet.image, row, corner, paint)), count.long()

    @property
    def _tried(self) -> int:
        """How far around a place nothing is tried again, in pixels."""
        return max(1, round(TRIED * self.config.side))

    def _places(self, sheet: Sheet, strip: int = 1024) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return find_places(sheet, self.config.side, float(self.sigma), strip)

    def _no_places(self, sheet: Sheet) -> tuple[Tensor, Tensor]:
        row = torch.zeros(0, dtype=torch.long, device=sheet.image.device)
        return row, row.new_zeros(0, 2)

    def _at(self, sheet: Sheet, row: Tensor, pixel: Tensor) -> Objects:
        """What is at some places, at the posterior's means."""
        return self.explain(sheet, row, pixel, sheet.image.new_zeros(len(row), self.latents))

    def _locate(self, sheet: Sheet, row: Tensor, around: Tensor) -> tuple[Tensor, Normal]:
        """Presence logits (T,) and posterior over where (T, 3), from glances (T, 3) at places."""
        size, region = self.config.glimpse, self.config.region
        known = sheet.inside.to(sheet.image.dtype)
        parts = (_piece(part, row, around, region) for part in (sheet.left, sheet.image, known))
        glance = torch.cat([view.glimpse(at, size, patch) for view, at, patch in parts], 1)
        logit, loc, std = self.attend(glance.flatten(1)).split([1, WHERE, WHERE], -1)
        return logit[:, 0], normal(loc, spread(std))

    def _paint(
        self, sheet: Sheet, row: Tensor, window: Tensor, what: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Corners (T, 2) and patches (T, 1, P, P) of objects, cut off where their picture ends."""
        patch = self.config.patch, self.config.patch
        corner = layers.corner_of(window, patch, layers.size_of(sheet.image))
        glimpse, _ = self.decoder.paint(what)
        paint = spatial.paste(glimpse, layers.within(window, corner), *patch)
        inside = layers.under(sheet.inside[:, 0], row, corner, patch).unsqueeze(1)
        return corner, paint * inside


def _piece(
    canvas: Tensor, row: Tensor, window: Tensor, side: int
) -> tuple[View, Tensor, tuple[int, int]]:
    """The part of a canvas around each window (T, 3), as encoders take it.

    Returns:
        The parts, the windows in them, and their size.
    """
    patch = side, side
    corner = layers.corner_of(window, patch, layers.size_of(canvas))
    part = layers.under(canvas[:, 0], row, corner, patch).unsqueeze(1)
    return View(part, part, torch.zeros_like(part), None), layers.within(window, corner), patch


def _portions(row: Tensor, pixel: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Places, so many at a time."""
    return zip(row.split(AT_ONCE), pixel.split(AT_ONCE), strict=True)


def _rank(row: Int[Tensor, "places"]) -> Int[Tensor, "places"]:
    """The number of each place within its row, from 0, rows being in order."""
    first = torch.searchsorted(row, row)
    return torch.arange(len(row), device=row.device) - first
