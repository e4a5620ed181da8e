import itertools

import numpy as np
import pytest
import torch

from airscene.core.seeds import Purpose, global_stream, sequence, stream
from airscene.ranges import SEED

NAMES = [
    (purpose, seed, step, process)
    for purpose in Purpose
    for seed in (0, 1, 2, 1_000_003, SEED.high)
    for step in (0, 1, 2, 799)
    for process in (0, 1, 2)
]
"""Neighbours in every part of a name, and parts that add up or concatenate to the same."""


def draws(name: tuple, number: int = 4) -> tuple[int, ...]:
    return tuple(torch.randint(2**62, (number,), generator=stream(*name)).tolist())


def test_no_two_streams_share_a_number():
    """Also where one stream's beginning is a later part of another, as seeds that overlap give."""
    numbers = [number for name in NAMES for number in draws(name, 50)]
    assert len({*numbers}) == len(numbers)


def test_streams_are_uncorrelated():
    names = [name for name in NAMES if name[1] < 3 and name[2] < 3]
    table = torch.stack([torch.randn(1000, generator=stream(*name)) for name in names])
    correlation = torch.corrcoef(table).fill_diagonal_(0)
    assert correlation.abs().max() < 6 / 1000**0.5  # six standard deviations


def test_a_name_is_always_the_same_stream():
    assert all(draws(name) == draws(name) for name in NAMES)


def test_many_streams_differ_in_more_than_32_bits_tell():
    """Of 100,000 streams with 32-bit seeds, one or two pairs would be the same."""
    names = itertools.product((Purpose.IMAGES, Purpose.NOISE), range(50), range(1000))
    firsts = {tuple(sequence(*name).generate_state(4)) for name in names}
    assert len(firsts) == 100_000


def test_the_state_is_that_of_numpys_mersenne_twister():
    """Both are MT19937; torch takes two words for a 64-bit number, the second one first."""
    name = (Purpose.NOISE, 5, 7)
    words = np.random.MT19937(sequence(*name)).random_raw(2001)[1:]
    expected = (words[0::2].astype(np.uint64) << np.uint64(32)) | words[1::2].astype(np.uint64)
    low = 2**53  # torch's random_ keeps so many bits of an integer below 2**53
    drawn = torch.empty(1000, dtype=torch.int64).random_(0, low, generator=stream(*name))
    assert drawn.tolist() == [int(value) % low for value in expected]


def test_the_global_stream_is_the_named_one_and_leaves_no_trace():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with global_stream(Purpose.ESTIMATOR, 1, 2, 3):
        drawn = torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn, torch.rand(5, generator=stream(Purpose.ESTIMATOR, 1, 2, 3)))


def test_an_error_leaves_no_trace_either():
    before = torch.get_rng_state()
    with pytest.raises(KeyError), global_stream(Purpose.WEIGHTS, 0):
        torch.rand(5)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)


def test_purposes_have_numbers_of_their_own():
    assert len({int(purpose) for purpose in Purpose}) == len(Purpose.__members__)
