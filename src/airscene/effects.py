"""Flags that cannot matter beside the others: they are refused, as their user expects an effect."""

from collections.abc import Callable
from dataclasses import dataclass, fields

from airscene.config import Config
from airscene.data import SceneConfig
from airscene.data.backdrops import BACKDROPS
from airscene.errors import UserError
from airscene.estimators import SETTINGS, EstimationConfig
from airscene.kinds import kind_of
from airscene.ranges import flag_of


@dataclass(frozen=True)
class Rule:
    """When some flags have no effect, and why.

    Attributes:
        holds: of the configuration, and whether the images are the user's own.
        flags: as tyro shows them; one that ends with a dot stands for all that begin so.
        reason: why they have no effect, and what to do, in words that follow "has no effect: ".
            `{model}` stands for the title of the kind of model.
    """

    holds: Callable[[Config, bool], bool]
    flags: tuple[str, ...]
    reason: str

    def names(self, flag: str) -> bool:
        """Whether a flag is one of the rule's."""
        return any(
            flag == some or (some[-1] == "." and flag.startswith(some)) for some in self.flags
        )


def _unread(setting: str) -> Rule:
    """The rule of a setting that the chosen estimator does not read."""
    readers = [name for name, read in SETTINGS.items() if setting in read]
    return Rule(
        lambda config, has_data: config.estimator not in readers,
        (flag_of("--estimation.", setting),),
        f"it is read by --estimator {', '.join(readers)} alone; leave it out or name one of them",
    )


RULES = (
    Rule(
        lambda config, has_data: has_data,
        ("--scenes.", "--model.settled"),
        "with --data no scenes are composed; leave it out",
    ),
    Rule(
        lambda config, has_data: kind_of(config.model).whole,
        ("--model.channels",),
        "what is prepared of pictures has one channel; leave it out",
    ),
    Rule(
        lambda config, has_data: has_data and not kind_of(config.model).whole,
        ("--model.height", "--model.width", "--model.channels"),
        "the canvas is that of the pictures in --data; leave it out",
    ),
    Rule(
        lambda config, has_data: has_data,
        ("--training.fresh",),
        "with --data no scenes are composed; leave it out",
    ),
    Rule(
        lambda config, has_data: not has_data,
        ("--model.height", "--model.width"),
        "the canvas is that of the scenes; give --scenes.canvas",
    ),
    Rule(
        lambda config, has_data: not has_data,
        ("--model.channels",),
        "the channels are those of the scenes; give --scenes.channels",
    ),
    Rule(
        lambda config, has_data: config.training.fresh,
        ("--scenes.train-size",),
        "--training.fresh composes new scenes at every step; leave one of them out",
    ),
    Rule(
        lambda config, has_data: len(config.scenes.counts) == 1,
        ("--scenes.shares",),
        "--scenes.counts names one count; leave it out or name more",
    ),
    Rule(
        lambda config, has_data: max(config.scenes.counts) <= 1,
        ("--scenes.overlap", "--scenes.visible"),
        "--scenes.counts allows for one object at most; leave it out or name more",
    ),
    Rule(
        lambda config, has_data: config.scenes.compose == "sum",
        ("--scenes.visible",),
        "objects that are added up hide nothing; leave it out or give --scenes.compose over",
    ),
    Rule(
        lambda config, has_data: config.scenes.overlap == "boxes",
        ("--scenes.visible",),
        "--scenes.overlap boxes lets no object hide another; leave one of them out",
    ),
    Rule(
        lambda config, has_data: config.scenes.colour != "contrast",
        ("--scenes.contrast",),
        "it is read by --scenes.colour contrast alone; leave it out or give that",
    ),
    Rule(
        lambda config, has_data: not BACKDROPS[config.scenes.backdrop].has_level,
        ("--scenes.background",),
        "--scenes.backdrop levels and photos have levels of their own; leave one of them out",
    ),
    Rule(
        lambda config, has_data: kind_of(config.model).detect is None,
        ("--estimator", "--estimation.", "--training.prior-odds"),
        "{model} takes neither estimator nor odds of a count; leave it out or name a preset of AIR "
        "or DAIR",
    ),
    Rule(
        lambda config, has_data: not kind_of(config.model).anneals,
        ("--training.sigma-factor",),
        "{model} has one sigma throughout; leave it out or name a preset of AIR or DAIR",
    ),
    Rule(
        lambda config, has_data: kind_of(config.model).place is not None and not has_data,
        tuple(
            flag_of("--scenes.", field.name)
            for field in fields(SceneConfig)
            if field.name not in ("canvas", "train_size", "test_size")
        ),
        "scenes of {model} are drawn by the renderer that the model is given; leave it out",
    ),
    Rule(
        lambda config, has_data: kind_of(config.model).whole,
        ("--estimator", "--estimation."),
        "{model} sums out all presences exactly, without an estimator; leave it out",
    ),
    *(_unread(field.name) for field in fields(EstimationConfig)),
)
"""The rules of all models; of those that refuse a flag, the first gives the reason."""


def check_effects(config: Config, given: frozenset[str], has_data: bool) -> None:
    """Refuses flags that cannot change what a training computes.

    Args:
        config: the configuration that the flags make.
        given: the flags that the user typed, as tyro shows them: `--training.fresh`. The negation
            of a switch, `--training.no-fresh`, counts as the switch.
        has_data: whether the images are the user's own, by --data.

    Raises:
        UserError: the message names the first such flag, why it has no effect, and the fix.
    """
    holding = [rule for rule in RULES if rule.holds(config, has_data)]
    title = kind_of(config.model).title
    idle = {flag_of("--model.", name): reason for name, reason in config.model.idle().items()}
    for flag in sorted(given):
        name = flag.replace(".no-", ".", 1)
        reasons = [rule.reason.format(model=title) for rule in holding if rule.names(name)]
        if name in idle:
            reasons.append(idle[name])
        if reasons:
            raise UserError(f"{flag} has no effect: {reasons[0]}")
