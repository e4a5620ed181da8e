"""Random streams, each named by what it is for, so that no two of them share their numbers.

A seed alone cannot name a stream: training draws images, noise and an estimator's samples at every
step and on every process. `numpy.random.SeedSequence` mixes all parts of the name into the state of
the generator, so that neighbouring seeds, steps and processes have nothing in common.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

WORDS = 624  # of 32 bits: the state of the Mersenne Twister, torch's generator on CPUs
# Where its parts lie in what `Generator.get_state` returns, in bytes; each word takes 64 bits. The
# position within the words and a normal number held back are zero at the start of a stream.
SEED, LEFT, SEEDED, STATE = slice(0, 8), slice(8, 12), slice(12, 16), slice(24, 24 + 8 * WORDS)
STATE_BYTES = 5056


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of the streams' names: never use one again."""

    WEIGHTS = 0
    IMAGES = 1
    NOISE = 2
    ESTIMATOR = 3
    VALIDATION = 4
    EVALUATION = 5
    GENERATION = 6
    VARIANCE = 7
    VARIANCE_IMAGES = 8
    CROPS = 16
    READERS = 17
    LABELLED_SCENES = 18
    PERCEPTION = 19


def sequence(
    purpose: Purpose, seed: int, step: int = 0, process: int = 0
) -> np.random.SeedSequence:
    """The entropy of the stream with this name.

    Args:
        purpose: what it is for.
        seed: of the run or of the data, in `ranges.SEED`.
        step: of the training, from 0.
        process: its rank, from 0, where each process has a stream of its own.
    """
    return np.random.SeedSequence(seed, spawn_key=(int(purpose), step, process))


def stream(
    purpose: Purpose,
    seed: int,
    step: int = 0,
    process: int = 0,
    device: torch.device | str = "cpu",
) -> torch.Generator:
    """A generator at the start of the stream with this name; see `sequence`.

    Args:
        purpose: what it is for.
        seed: of the run or of the data, in `ranges.SEED`.
        step: of the training, from 0.
        process: its rank, from 0, where each process has a stream of its own.
        device: where the numbers are drawn.

    >>> torch.rand(2, generator=stream(Purpose.NOISE, seed=0, step=7))
    tensor([0.4058, 0.6719])
    """
    generator, name = torch.Generator(device), sequence(purpose, seed, step, process)
    if generator.device.type == "cpu":
        generator.set_state(_cpu_state(name))
    else:
        generator.manual_seed(_one_word(name))
    return generator


@contextmanager
def global_stream(purpose: Purpose, seed: int, step: int = 0, process: int = 0) -> Iterator[None]:
    """Within it, torch's global generators are at the start of a stream; then as they were.

    Args:
        purpose: what it is for.
        seed: of the run or of the data, in `ranges.SEED`.
        step: of the training, from 0.
        process: its rank, from 0, where each process has a stream of its own.
    """
    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=gpus):
        name = sequence(purpose, seed, step, process)
        torch.set_rng_state(_cpu_state(name))
        if gpus:
            torch.cuda.manual_seed(_one_word(name))
        yield


def _cpu_state(name: np.random.SeedSequence) -> Tensor:
    """The whole state of torch's Mersenne Twister, as `Generator.set_state` takes it.

    `Generator.manual_seed` keeps 32 bits of a seed on CPUs. Among as few as 80,000 streams, two
    would then be the same one.
    """
    words = name.generate_state(WORDS)
    words[0] = 1 << 31  # as the algorithm's authors do, so that the state is never zero
    state = np.zeros(STATE_BYTES, np.uint8)
    state[SEED] = np.array([_one_word(name)], np.uint64).view(np.uint8)
    state[LEFT] = state[SEEDED] = np.array([1], np.int32).view(np.uint8)
    state[STATE] = words.astype(np.uint64).view(np.uint8)
    return torch.from_numpy(state)


def _one_word(name: np.random.SeedSequence) -> int:
    return int(name.generate_state(1, np.uint64)[0])
