"""Networks that learn to answer questions from labels: all of one make, whatever they read.

A reader embeds each object of a set by the same network (Zaheer et al. 2017, arXiv 1703.06114): its
glimpse, if it has one, by convolutions, joined to its features. The embeddings are added up, each
weighted by the probability that its object is there, and a second network answers. So a set may
hold any number of objects. What is read is varied in training: features within their spread,
glimpses by shifts of some pixels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from airscene.core.networks import MLP
from airscene.core.seeds import Purpose, global_stream
from airscene.experiments.inferred import Inferred

SMALLEST = 7  # pixels along a side at which convolutions end
EXAMINED = 500  # scenes answered at a time


@dataclass(frozen=True)
class ReadingConfig:
    """How readers learn."""

    embedding: int = 128
    """Numbers by which an object is embedded."""
    hidden: int = 256
    """Units of each hidden layer."""
    filters: int = 16
    """Filters of the first convolution, doubled by each of the next."""
    shift: float = 0.1
    """Largest shift of a glimpse or picture in training, as a part of its side."""
    batch: int = 128
    """Scenes in a step."""
    epochs: float = 20.0
    """Passes over the labelled scenes, where that is within the limits on steps."""
    steps: tuple[int, int] = (1200, 5000)
    """The fewest and the most steps."""
    rate: float = 2e-3
    """Largest learning rate; it rises to it and falls again."""
    decay: float = 0.01
    """Decoupled weight decay."""
    checks: int = 10
    """How often accuracy on validation scenes is taken: the best weights are kept."""

    def steps_for(self, labels: int) -> int:
        """How many steps so many labelled scenes are learned from.

        >>> ReadingConfig().steps_for(100), ReadingConfig().steps_for(20_000)
        (1200, 3125)
        """
        least, most = self.steps
        return min(most, max(least, round(self.epochs * labels / self.batch)))


class Reader(nn.Module):
    """Answers from a set of objects.

    Args:
        inferred: some of what is to be read, of which the sizes are taken.
        answers: how many answers there are.
        config: the network's sizes.
    """

    def __init__(self, inferred: Inferred, answers: int, config: ReadingConfig):
        super().__init__()
        channels, side = inferred.glimpses.shape[2:4]
        layers, seen = _convolutions(channels, side, config.filters)
        self.look = nn.Sequential(*layers)
        hidden, features = config.hidden, inferred.features.shape[2]
        self.embed = MLP([features + seen, hidden, hidden, config.embedding])
        self.answer = MLP([config.embedding, hidden, answers])

    def forward(self, features: Tensor, glimpses: Tensor, presence: Tensor) -> Tensor:
        """Log-odds of the answers, shape (B, A).

        Args:
            features: of each object, shape (B, N, F).
            glimpses: floats in [0, 1], shape (B, N, C, S, S).
            presence: the probability that each object is there, shape (B, N).
        """
        seen = self.look(glimpses.flatten(0, 1)).unflatten(0, presence.shape)
        objects = F.elu(self.embed(torch.cat([features, seen], -1)))
        return self.answer((objects * presence.unsqueeze(-1)).sum(1))


@dataclass(frozen=True)
class Labelled:
    """What is read of scenes, and the right answers (M,)."""

    inferred: Inferred
    answers: Tensor

    def first(self, number: int) -> "Labelled":
        """The first few of them."""
        return Labelled(self.inferred[:number], self.answers[:number])


def learn_to_answer(
    train: Labelled, validation: Labelled, answers: int, config: ReadingConfig, seed: int
) -> Reader:
    """The reader with the best validation accuracy in the course of its training.

    Args:
        train: what to learn from.
        validation: what to choose the weights by.
        answers: how many answers there are.
        config: how to learn.
        seed: decides the weights, the order of scenes and how they are varied.
    """
    steps = config.steps_for(len(train.answers))
    with global_stream(Purpose.READERS, seed):
        reader = Reader(train.inferred, answers, config)
        optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=config.decay, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.rate, total_steps=steps)
        best, kept = -1.0, reader.state_dict()
        for step in range(1, steps + 1):
            index = torch.randint(len(train.answers), (config.batch,))
            given = reader(*_varied(train.inferred[index], config.shift))
            loss = F.cross_entropy(given, train.answers[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % max(1, steps // config.checks):
                continue
            if (reached := accuracy(reader, validation)) >= best:
                best, kept = reached, {k: v.clone() for k, v in reader.state_dict().items()}
    reader.load_state_dict(kept)
    return reader.eval()


def accuracy(reader: Reader, labelled: Labelled) -> float:
    """The share of scenes that a reader answers right, in [0, 1]."""
    given = answers_of(reader, labelled.inferred)
    return float((given == labelled.answers).float().mean())


@torch.no_grad()
def answers_of(reader: Reader, inferred: Inferred) -> Tensor:
    """What a reader answers, from 0 on, shape (M,)."""
    training = reader.training
    reader.eval()
    parts = (inferred[part] for part in torch.arange(len(inferred)).split(EXAMINED))
    given = torch.cat([reader(*_plain(part)).argmax(1) for part in parts])
    reader.train(training)
    return given


def _plain(inferred: Inferred) -> tuple[Tensor, Tensor, Tensor]:
    """What a reader takes, as it was inferred."""
    return inferred.features, inferred.glimpses / 255, inferred.presence


def _varied(inferred: Inferred, shift: float) -> tuple[Tensor, Tensor, Tensor]:
    """What a reader takes, drawn from the posterior, and with other parts of the pixels in view."""
    features = inferred.features + inferred.spread * torch.randn_like(inferred.spread)
    side = inferred.glimpses.shape[-1]
    glimpses = inferred.glimpses.flatten(0, 1)
    moved = _moved(glimpses, round(shift * side)) if side else glimpses
    return features, (moved / 255).view(inferred.glimpses.shape), inferred.presence


def _moved(pictures: Tensor, most: int) -> Tensor:
    """Square pictures (T, C, S, S), each moved by up to so many pixels along each axis."""
    number, side = len(pictures), pictures.shape[-1]
    padded = F.pad(pictures, [most] * 4)
    corner = torch.randint(0, 2 * most + 1, (2, number, 1))
    rows, columns = corner + torch.arange(side)
    pictures = torch.arange(number)[:, None, None]
    return padded[pictures, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _convolutions(channels: int, side: int, filters: int) -> tuple[list[nn.Module], int]:
    """Convolutions that halve a picture until it is small, then flatten it; and what they give."""
    layers: list[nn.Module] = []
    while side > SMALLEST:
        kernel = 3 if layers else 5
        layers += [
            nn.Conv2d(channels, filters, kernel, stride=2, padding=kernel // 2),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]
        channels, filters, side = filters, 2 * filters, (side + 1) // 2
    return [*layers, nn.Flatten()], channels * side**2
