"""Training must learn: a step that runs is not enough."""

from dataclasses import replace

from airscene.config import Config, TrainingConfig
from airscene.data import SceneConfig, compose_split
from airscene.models.air_config import AIRConfig
from airscene.presets import DAIR_TRAINING, SPRITES
from airscene.results.detections import detect
from airscene.results.evaluation import agreement
from airscene.runs import TEST_SEED, load_run, train_run


def brief(training: TrainingConfig, iterations: int, **changes) -> TrainingConfig:
    """A training that is validated at its end alone, and keeps no snapshots."""
    return replace(
        training,
        iterations=iterations,
        validate_every=iterations,
        validation_scenes=500,
        snapshots=0,
        compile="off",
        **changes,
    )


CONFIG = Config(
    scenes=SceneConfig(canvas=(24, 24), size=13.0, train_size=20_000, test_size=1000),
    model=AIRConfig(height=24, width=24, glimpse=12, what=20, lstm=128, hidden=128, sigma=0.3),
    training=brief(
        TrainingConfig(
            learning_rate=((0.0, 1e-4), (0.05, 2e-3), (0.5, 2e-3), (1.0, 2e-5)),
            prior_odds=((0.0, 2e-3), (0.3, 2e-3), (0.6, 1.0)),
        ),
        600,
        batch=128,
    ),
)

SMALL = Config(
    scenes=SceneConfig(canvas=(32, 32), size=13.0, train_size=10_000, test_size=1000),
    model=AIRConfig(
        feedback="residual",
        height=32,
        width=32,
        glimpse=10,
        what=20,
        hidden=128,
        scale_prior=(-0.85, 0.1),
    ),
    training=brief(DAIR_TRAINING, 300, batch=128),
)

HIDDEN = replace(
    SPRITES,
    scenes=replace(
        SPRITES.scenes,
        canvas=(32, 32),
        size=12.0,
        overlap="any",
        backdrop="levels",
        colour="levels",
        compose="over",
        visible=0.4,
        train_size=5_000,
        test_size=500,
    ),
    model=replace(
        SPRITES.model,
        height=32,
        width=32,
        glimpse=12,
        what=24,
        hidden=128,
        evidence=600.0,
        scale_prior=(-0.5, 0.15),
    ),
    training=brief(
        SPRITES.training,
        250,
        batch=64,
        sigma_factor=((0.0, 2.0), (0.1, 2.0), (0.5, 1.0), (1.0, 1.0)),
    ),
)


def test_coloured_things_that_hide_one_another_are_counted_and_told_apart(tmp_path):
    """Shapes of any colour on any colour, some darker than it, are learned in 250 steps.

    Seen for seeds 0 to 2: 98.8 to 99.0 % of the counts, boxes 0.807 to 0.812, masks 0.820 to 0.822.
    """
    train_run(HIDDEN, tmp_path)
    scenes = compose_split(HIDDEN.scenes, "test", TEST_SEED, masks=True)
    table = agreement(scenes, detect(load_run(tmp_path).model, scenes.pixels()))
    assert table["count_accuracy"] > 0.95
    assert table["box_mean_iou"] > 0.75
    assert table["mask_iou"] > 0.75


def test_dair_counts_small_objects_and_more_of_them_than_it_ever_saw(tmp_path):
    """Trains on 0 to 2 digits of 10 pixels; seen for seeds 0 and 1: 99.5 %.

    Scenes of 3, with up to 6 allowed: 96.9 and 96.5 %. A model that learned to stop after two
    counts none of them.
    """
    train_run(SMALL, tmp_path)
    model = load_run(tmp_path).model
    scenes = compose_split(SMALL.scenes, "test", TEST_SEED)
    table = agreement(scenes, detect(model, scenes.pixels()))
    assert table["count_accuracy"] > 0.95
    assert table["box_mean_iou"] > 0.75
    more = compose_split(replace(SMALL.scenes, counts=(3,)), "test", TEST_SEED)
    assert agreement(more, detect(model, more.pixels(), steps=6))["count_accuracy"] > 0.8


def test_counts_and_places_are_learned_without_a_label(tmp_path):
    """Trains on scenes of 0 to 2 digits for 600 steps and asks for the truth of unseen ones.

    Chance is a third. Seen for seeds 0 to 7, on other held-out scenes: count accuracy 99.5 to
    100 %, mean IoU of matched boxes 0.946 to 0.960. With the gradient of the count cut
    (`log_probs` detached in `expected_bound`): 33.6 %, every scene counted
    as empty. A batch of 64 is too small: one seed of six then counted every two digits as one.
    """
    train_run(CONFIG, tmp_path)
    scenes = compose_split(CONFIG.scenes, "test", TEST_SEED)
    table = agreement(scenes, detect(load_run(tmp_path).model, scenes.pixels()))
    assert table["count_accuracy"] > 0.95
    assert table["box_mean_iou"] > 0.75
