from dataclasses import fields, replace

import pytest
import torch

from airscene.config import Config
from airscene.data import SceneConfig
from airscene.data.backdrops import BACKDROPS
from airscene.effects import RULES, check_effects
from airscene.errors import UserError
from airscene.estimators import ESTIMATORS, SETTINGS, EstimationConfig
from airscene.kinds import make_objective
from airscene.models.air_config import AIRConfig
from airscene.presets import PRESETS
from airscene.ranges import flag_of

AIR, DAIR, DRAW = PRESETS["digits"], PRESETS["dair"], PRESETS["draw"]
OBJECT = PRESETS["object3d"]
WAKING = replace(OBJECT, model=replace(OBJECT.model, dream=0.0, wake=1.0))
WHOLE = PRESETS["whole"]
FRESH = replace(AIR, training=replace(AIR.training, fresh=True))
BERNOULLI = replace(DRAW, model=replace(DRAW.model, likelihood="bernoulli"))
ONE = replace(AIR, scenes=SceneConfig(counts=(1,)))
FEW = replace(AIR, scenes=SceneConfig(counts=(0, 1)))
OVER, APART = (
    replace(AIR, scenes=SceneConfig(compose="over", overlap=overlap))
    for overlap in ("any", "boxes")
)
PHOTOS = replace(
    AIR, scenes=SceneConfig(backdrop="photos", compose="over", colour="contrast", overlap="any")
)
CONCRETE, VIMCO, NVIL = (replace(AIR, estimator=name) for name in ("concrete", "vimco", "nvil"))

# a flag, where it has no effect (and with --data or not), the reason, and where it has one
CASES = [
    ("--scenes.canvas", AIR, True, "no scenes are composed", AIR, False),
    ("--scenes.train-size", AIR, True, "no scenes are composed", AIR, False),
    ("--scenes.train-size", FRESH, False, "--training.fresh composes new", AIR, False),
    ("--scenes.shares", ONE, False, "names one count", AIR, False),
    ("--scenes.overlap", FEW, False, "one object at most", AIR, False),
    ("--scenes.visible", FEW, False, "one object at most", OVER, False),
    ("--scenes.visible", AIR, False, "hide nothing", OVER, False),
    ("--scenes.visible", APART, False, "no object hide another", OVER, False),
    ("--scenes.contrast", AIR, False, "--scenes.colour contrast alone", PHOTOS, False),
    ("--scenes.background", PHOTOS, False, "levels of their own", AIR, False),
    ("--model.height", AIR, False, "give --scenes.canvas", None, False),
    ("--model.width", AIR, True, "that of the pictures", None, False),
    ("--model.channels", AIR, False, "give --scenes.channels", None, False),
    ("--model.channels", DRAW, True, "that of the pictures", None, False),
    ("--training.fresh", AIR, True, "no scenes are composed", AIR, False),
    ("--training.no-fresh", AIR, True, "no scenes are composed", AIR, False),
    ("--training.prior-odds", DRAW, False, "DRAW takes neither estimator", AIR, True),
    ("--training.prior-odds", OBJECT, False, "rendered scene takes neither estimator", AIR, True),
    ("--training.sigma-factor", DRAW, False, "DRAW has one sigma throughout", OBJECT, True),
    ("--model.particles", OBJECT, False, "reweighted wake-sleep takes no part", WAKING, True),
    ("--model.dreams", WAKING, False, "dreams take no part", OBJECT, True),
    ("--model.samples", WAKING, True, "the bound takes no part", OBJECT, False),
    ("--scenes.source", OBJECT, False, "drawn by the renderer", AIR, False),
    ("--scenes.counts", OBJECT, False, "drawn by the renderer", AIR, False),
    ("--estimator", DRAW, True, "DRAW takes neither estimator", VIMCO, True),
    ("--estimation.samples", DRAW, False, "DRAW takes neither estimator", VIMCO, False),
    ("--estimation.samples", CONCRETE, False, "--estimator vimco, iwae, rws alone", VIMCO, False),
    ("--estimation.temperature", AIR, False, "--estimator concrete alone", CONCRETE, False),
    ("--estimation.straight-through", NVIL, False, "concrete alone", CONCRETE, False),
    ("--estimation.no-straight-through", NVIL, False, "concrete alone", CONCRETE, False),
    ("--estimation.baseline-rate", VIMCO, True, "nvil, rebar, relax alone", NVIL, True),
    ("--model.sigma", BERNOULLI, False, "bernoulli has no spread", DRAW, False),
    ("--model.lstm", DAIR, False, "residual has no LSTM", AIR, False),
    ("--model.lstm", DAIR, True, "residual has no LSTM", DRAW, True),
    ("--model.channels", WHOLE, True, "has one channel", None, True),
    ("--model.width", AIR, True, "that of the pictures", WHOLE, True),
    ("--estimator", WHOLE, True, "sums out all presences", AIR, True),
]


@pytest.mark.parametrize(("flag", "config", "has_data", "reason", "works", "works_on"), CASES)
def test_a_flag_without_effect_is_refused_there_alone(
    flag, config, has_data, reason, works, works_on
):
    with pytest.raises(UserError, match=f"^{flag} has no effect: .*{reason}") as told:
        check_effects(config, frozenset({flag, "--seed", "--out"}), has_data)
    assert "\n" not in str(told.value)
    if works is not None:
        check_effects(works, frozenset({flag, "--seed", "--out"}), works_on)


def test_the_cases_reach_every_rule():
    reached = {
        next((rule for rule in RULES if rule.holds(config, data) and rule.names(named(flag))), None)
        for flag, config, data, *_ in CASES
    }
    assert reached == {*RULES, None}  # the rest are fields that a model calls idle


def named(flag: str) -> str:
    return flag.replace(".no-", ".")


NO_ESTIMATOR = "draw", "autoencoder", "object3d", "table3d"
UNANNEALED = "draw", "autoencoder", "table3d"


@pytest.mark.parametrize("has_data", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_flags_that_matter_pass_together(name, has_data):
    """Every flag of the configuration, but for those that a case says have no effect."""
    config = PRESETS[name]
    flags = {"--seed", "--estimator"}
    for part in ("scenes", "model", "training", "estimation"):
        flags |= {flag_of(f"--{part}.", field.name) for field in fields(getattr(config, part))}
    idle = {"--model.height", "--model.width", "--model.channels", "--estimation."}
    idle |= {"--scenes.contrast", "--scenes.visible"}
    idle |= set() if BACKDROPS[config.scenes.backdrop].has_level else {"--scenes.background"}
    idle |= {"--scenes.", "--training.fresh"} if has_data else set()
    idle |= {"--estimator", "--training.prior-odds"} if name in NO_ESTIMATOR else set()
    idle |= {"--training.sigma-factor"} if name in UNANNEALED else set()
    idle |= {"--model.settled"} if has_data else set()
    drawn = {flag_of("--scenes.", field.name) for field in fields(config.scenes)}
    idle |= drawn - {"--scenes.canvas"} if name in ("object3d", "table3d") else set()
    idle |= {"--estimator"} if name == "whole" else set()
    idle |= {f"--model.{name}".replace("_", "-") for name in config.model.idle()}
    check_effects(config, frozenset(f for f in flags if not f.startswith(tuple(idle))), has_data)


def test_settings_name_every_estimator_and_fields_that_there_are():
    assert SETTINGS.keys() == ESTIMATORS.keys()
    assert {name for read in SETTINGS.values() for name in read} == {
        field.name for field in fields(EstimationConfig)
    }


CHANGED = EstimationConfig(
    samples=3, temperature=((0.0, 0.3),), straight_through=True, baseline_rate=2.0
)


@pytest.mark.parametrize("setting", [field.name for field in fields(EstimationConfig)])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_changes_with_the_settings_that_it_reads_and_no_other(name, setting):
    plain = EstimationConfig()
    changed = replace(plain, **{setting: getattr(CHANGED, setting)})
    assert getattr(changed, setting) != getattr(plain, setting)
    differs = training_step(name, plain) != training_step(name, changed)
    assert differs == (setting in SETTINGS[name])


def training_step(name: str, estimation: EstimationConfig) -> list:
    """All that a setting may decide: loss, noise, gradient and learning rates of a first step."""
    small = AIRConfig(steps=2, height=8, width=8, glimpse=3, what=2, lstm=4, hidden=4)
    torch.manual_seed(0)
    objective = make_objective(Config(model=small, estimator=name, estimation=estimation))
    objective.schedule(0.0)
    image, noise = torch.rand(2, 1, 8, 8), torch.randn(2, 3, 10)
    loss, _ = objective(image, noise[:, : objective.noise_shape[0]])
    loss.backward()
    slopes = [p.grad.abs().sum().item() for p in objective.parameters() if p.grad is not None]
    factors = [group["factor"] for group in objective.parameter_groups()]
    return [loss.item(), objective.noise_shape, slopes, factors]
