import copy
import math
import re
import typing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pytest
import torch

from airscene.apps.cli import main
from airscene.config import Config, TrainingConfig
from airscene.data import SceneConfig
from airscene.errors import UserError
from airscene.estimators import EstimationConfig
from airscene.kinds import make_objective
from airscene.models.air_config import AIRConfig
from airscene.models.draw import DRAWConfig
from airscene.ranges import (
    Range,
    Ranges,
    check_ranges,
    check_value,
    flag_of,
    in_turn,
    ranged_fields,
    within,
)
from airscene.training.objectives import make_optimizer

DEFAULTS = {
    "--": (Config(),),
    "--scenes.": (SceneConfig(shares=(1.0, 1.0, 1.0)),),
    "--model.": (AIRConfig(sigma=0.3), DRAWConfig()),
    "--training.": (TrainingConfig(),),
    "--estimation.": (EstimationConfig(),),
}
OPTIONAL = ("sigma",)  # None is no mistake there
CONFIGS = [(prefix, config) for prefix, configs in DEFAULTS.items() for config in configs]
FIELDS = [
    pytest.param(config, flag_of(prefix, name), name, ranges, id=f"{type(config).__name__}.{name}")
    for prefix, config in CONFIGS
    for name, (_, ranges) in ranged_fields(type(config)).items()
]


def numbers_of(kind: object) -> set[type]:
    """The types of numbers in an annotation."""
    parts = typing.get_args(kind)
    return set().union(*map(numbers_of, parts)) if parts else {int, float} & {kind}


def flat(value: object) -> list:
    return (
        [number for part in value for number in flat(part)] if isinstance(value, tuple) else [value]
    )


def put(value: object, place: int, number: object) -> object:
    """The nested tuple with one of its numbers replaced."""
    if not isinstance(value, tuple):
        return number if place == 0 else value
    parts, start = [], 0
    for part in value:
        parts.append(put(part, place - start, number))
        start += len(flat(part))
    return tuple(parts)


@pytest.mark.parametrize(("prefix", "config"), CONFIGS)
def test_every_field_of_numbers_has_a_range(prefix, config):
    hints = typing.get_type_hints(type(config))
    numeric = {name for name, hint in hints.items() if numbers_of(hint)}
    assert numeric == ranged_fields(type(config)).keys()


@pytest.mark.parametrize(("config", "flag", "name", "ranges"), FIELDS)
def test_every_number_outside_its_range_is_refused_by_its_flag(config, flag, name, ranges):
    value = getattr(config, name)
    for place in range(len(flat(value))):
        allowed = ranges.in_turn[place % len(ranges.in_turn)]
        whole = isinstance(flat(value)[place], int)
        step = 1 if whole else 1e-9
        beyond = [allowed.low - step, allowed.high * (1 + 1e-9) + step, 10**30, -(10**30)]
        where = f"holds .* in place {place + 1}" if isinstance(value, tuple) else "is .*"
        strange = [] if whole else [math.nan, math.inf, -math.inf]
        for number in map(type(flat(value)[place]), [*beyond, *strange]):
            with pytest.raises(UserError, match=f"^{flag} {where}; it must lie between") as error:
                replace(config, **{name: put(value, place, number)})
            assert "\n" not in str(error.value)


@pytest.mark.parametrize(("config", "flag", "name", "ranges"), FIELDS)
def test_what_is_no_number_is_refused_by_its_flag(config, flag, name, ranges):
    value, prefix = getattr(config, name), flag.removesuffix(flag_of("", name))
    for place, number in enumerate(flat(value)):
        wrong = [] if name in OPTIONAL else [None]
        wrong += [1.5, math.nan] if isinstance(number, int) else []
        for strange in [True, "3", *wrong]:
            changed = copy.copy(config)  # past the checker of types that tests install
            object.__setattr__(changed, name, put(value, place, strange))
            with pytest.raises(UserError, match=f"^{flag} .* must be a (whole )?number$"):
                check_ranges(changed, prefix)


@pytest.mark.parametrize(("config", "flag", "name", "ranges"), FIELDS)
def test_both_limits_are_within(config, flag, name, ranges):
    for place, number in enumerate(flat(getattr(config, name))):
        allowed = ranges.in_turn[place % len(ranges.in_turn)]
        for limit in (allowed.low, allowed.high):
            value = put(getattr(config, name), place, type(number)(limit))
            try:
                replace(config, **{name: value})
            except UserError as error:  # of another rule, such as that sprites fit their canvas
                assert "must lie" not in str(error)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        *(("model", name) for name in ("sigma", "scale_prior", "shift_prior")),
        *(("training", name) for name in ("prior_odds", "learning_rate")),
        *(("estimation", name) for name in ("temperature", "baseline_rate")),
    ],
)
def test_training_is_finite_at_the_limits_of_what_is_no_size(part, name):
    """Each number of each field at each of its limits, in a step of a small DAIR."""
    torch.manual_seed(0)
    small = AIRConfig(
        steps=2, height=12, width=12, glimpse=4, what=3, hidden=8, lstm=8, feedback="residual"
    )
    config = Config(model=small, estimator="relax" if name == "baseline_rate" else "concrete")
    value = getattr(getattr(config, part), name)
    ranges = ranged_fields(type(getattr(config, part)))[name][1].in_turn
    for place in range(len(flat(value))):
        if name in ("prior_odds", "learning_rate", "temperature") and place % 2 == 0:
            continue  # progress has its own rule
        allowed = ranges[place % len(ranges)]
        for limit in (allowed.low, allowed.high):
            changed = replace(getattr(config, part), **{name: put(value, place, float(limit))})
            assert math.isfinite(loss_after_a_step(replace(config, **{part: changed}), place))


def loss_after_a_step(config: Config, place: int) -> float:
    objective = make_objective(config)
    points = config.training.learning_rate
    objective.schedule(1.0 if place > 1 else 0.0)
    optimizer = make_optimizer(objective)
    for group in optimizer.param_groups:
        group["lr"] = min(points[0][1], 1e-3)
    image = torch.rand(3, 1, 12, 12)
    loss, _ = objective(image, torch.randn(3, *objective.noise_shape))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
    optimizer.step()
    return float(objective(image, torch.randn(3, *objective.noise_shape))[0].detach())


def test_help_shows_every_range(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = re.sub(r"[│\s]", "", capsys.readouterr().out)  # lines break within numbers too
    for prefix, config in CONFIGS:
        if not isinstance(config, DRAWConfig):  # the default preset has the other model
            for name, (_, ranges) in ranged_fields(type(config)).items():
                flag, text = flag_of(prefix, name), str(ranges).replace(" ", "")
                assert re.search(rf"{flag}[A-Z\[{{]((?!--).)*;{re.escape(text)}\)", shown), flag


def test_the_table_of_ranges_agrees_with_the_code():
    page = (Path(__file__).parents[1] / "docs" / "command-line.md").read_text()
    section = page.split("### Ranges\n")[1].split("\n#")[0]
    rows = dict(re.findall(r"^\| `(--[^`]+)` \| (.+) \|$", section, re.MULTILINE))
    stated = {
        flag_of(prefix, name): str(ranges)
        for prefix, config in CONFIGS
        for name, (_, ranges) in ranged_fields(type(config)).items()
    }
    assert rows == stated


def test_models_share_the_ranges_of_the_flags_that_they_share():
    air, draw = (ranged_fields(kind) for kind in (AIRConfig, DRAWConfig))
    assert [name for name in air.keys() & draw.keys() if air[name][1] != draw[name][1]] == []


def test_a_single_number_is_checked_by_its_flag():
    check_value("--n", 3, Range(1, 3))
    with pytest.raises(UserError, match=r"^--n is 4; it must lie between 1 and 3$"):
        check_value("--n", 4, Range(1, 3))


def test_none_passes_where_the_annotation_allows_it():
    @dataclass(frozen=True)
    class Some:
        most: Annotated[int | None, *within(1, 5)] = None
        pair: Annotated[tuple[float, float], *in_turn(Range(1, 2), Range(0, 1))] = (1.0, 0.5)
        free: str = "left alone"

    check_ranges(Some(), "--")
    assert ranged_fields(Some)["pair"][1] == Ranges((Range(1, 2), Range(0, 1)))
    with pytest.raises(UserError, match="--most is 6"):
        check_ranges(Some(6), "--")


@pytest.mark.parametrize(
    ("some", "text"),
    [
        (Range(1, 10**8), "between 1 and 100,000,000"),
        (Range(1e-12, 1.0), "between 1e-12 and 1"),
        (Range(0, math.inf), "between 0 and inf"),
        (Range(-20, 0.99), "between -20 and 0.99"),
    ],
)
def test_limits_are_written_as_people_write_them(some, text):
    assert str(some) == text
