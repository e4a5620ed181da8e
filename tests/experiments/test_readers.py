from dataclasses import replace

import pytest
import torch

from airscene.experiments.inferred import Inferred
from airscene.experiments.readers import (
    Labelled,
    Reader,
    ReadingConfig,
    accuracy,
    learn_to_answer,
)

CONFIG = ReadingConfig(embedding=16, hidden=32, filters=4, steps=(200, 200), batch=64, checks=4)
KINDS = 4


def sets(number: int, seed: int, spread: float = 0.0) -> Labelled:
    """Sets of up to three things of four kinds, and how many of the first kind they hold."""
    random = torch.Generator().manual_seed(seed)
    kind = torch.randint(KINDS, (number, 3), generator=random)
    presence = torch.randint(2, (number, 3), generator=random).float()
    features = torch.nn.functional.one_hot(kind, KINDS).float()
    answers = ((kind == 0) * presence).sum(1).long()
    glimpses = torch.zeros(number, 3, 1, 0, 0, dtype=torch.uint8)
    inferred = Inferred(features, torch.full_like(features, spread), presence, glimpses)
    return Labelled(inferred, answers)


def bars(number: int, seed: int) -> Labelled:
    """Pictures of a bar under noise, and whether it lies."""
    random = torch.Generator().manual_seed(seed)
    lies = torch.randint(2, (number,), generator=random)
    picture = 0.3 * torch.rand(number, 1, 1, 14, 14, generator=random)
    for row, place in enumerate(torch.randint(2, 12, (number,), generator=random).tolist()):
        part = picture[row, 0, 0].T if lies[row] else picture[row, 0, 0]
        part[:, place] = 1.0
    nothing = torch.zeros(number, 1, 0)
    glimpses = (255 * picture).byte()
    return Labelled(Inferred(nothing, nothing, torch.ones(number, 1), glimpses), lies)


def answered(train: Labelled, test: Labelled, answers: int, config=CONFIG) -> float:
    return accuracy(learn_to_answer(train, test, answers, config, seed=0), test)


def test_a_set_of_features_is_learned_from():
    assert answered(sets(500, 0), sets(300, 1), 4) > 0.97


def test_glimpses_are_learned_from():
    assert answered(bars(300, 0), bars(200, 1), 2) > 0.95


def test_what_the_answers_do_not_hang_on_cannot_be_learned():
    train = sets(500, 0)
    shuffled = train.answers[torch.randperm(500, generator=torch.Generator().manual_seed(2))]
    assert answered(replace(train, answers=shuffled), sets(300, 1), 4) < 0.75


def test_neither_the_order_of_objects_nor_absent_ones_matter():
    torch.manual_seed(0)
    few = sets(20, 3).inferred
    reader = Reader(few, 4, CONFIG).eval()
    given = reader(few.features, few.glimpses / 255, few.presence)
    turned = reader(few.features.flip(1), few.glimpses / 255, few.presence.flip(1))
    torch.testing.assert_close(turned, given)
    other = few.features + 5.0 * (1 - few.presence).unsqueeze(-1)
    torch.testing.assert_close(reader(other, few.glimpses / 255, few.presence), given)


def test_half_an_object_counts_half():
    torch.manual_seed(0)
    one = sets(1, 0).inferred
    reader = Reader(one, 4, CONFIG).eval()
    reader.answer = torch.nn.Identity()
    whole, half, none = (
        reader(one.features, one.glimpses / 255, torch.tensor([[share, 0.0, 0.0]]))
        for share in (1.0, 0.5, 0.0)
    )
    torch.testing.assert_close(half, 0.5 * whole)
    assert none.abs().max() == 0 < whole.abs().max()


def test_features_are_drawn_from_their_spread_in_training_alone():
    known, unsure = sets(500, 0), sets(500, 0, spread=3.0)
    test = sets(300, 1)
    assert answered(known, test, 4) > answered(unsure, test, 4) + 0.1


def test_the_seed_decides_everything():
    weights = [
        learn_to_answer(sets(100, 0), sets(50, 1), 4, replace(CONFIG, steps=(5, 5)), seed)
        for seed in (0, 0, 1)
    ]
    first, same, other = (reader.embed[0].weight for reader in weights)
    assert torch.equal(first, same) and not torch.equal(first, other)


@pytest.mark.parametrize(("labels", "steps"), [(10, 200), (100_000, 800), (2_000, 625)])
def test_steps_grow_with_the_labels_within_limits(labels, steps):
    assert replace(CONFIG, steps=(200, 800)).steps_for(labels) == steps
