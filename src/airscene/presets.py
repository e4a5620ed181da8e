"""The trainings that come with a name."""

from dataclasses import replace

from airscene.config import Config, TrainingConfig
from airscene.data import SceneConfig
from airscene.errors import UserError
from airscene.models.air_config import AIRConfig
from airscene.models.autoencoder import AutoencoderConfig
from airscene.models.draw import DRAWConfig
from airscene.models.rendered import RenderedConfig
from airscene.models.tabletop import TabletopConfig
from airscene.models.whole_config import WholeConfig

# Windows of DAIR touch objects from the start, so that no digit is split while presence is cheap;
# presence then gets dear before the windows have settled, so that leftovers are not counted.
DAIR_TRAINING = TrainingConfig(
    iterations=1600,
    learning_rate=((0.0, 1e-4), (0.1, 4e-3), (0.6, 4e-3), (1.0, 2e-5)),
    prior_odds=((0.0, 10.0), (0.1, 10.0), (0.35, 2e-3), (0.6, 2e-3), (0.8, 0.1), (1.0, 0.1)),
)

# of short trainings, where presence gets less dear
SHORT_ODDS = ((0.0, 10.0), (0.1, 10.0), (0.35, 2e-2), (0.6, 2e-2), (0.8, 0.1), (1.0, 0.1))

# a variant of the paper's second model on its multi-MNIST, sections 3.1 and 3.2
DAIR = Config(
    scenes=SceneConfig(source="mnist"),
    model=AIRConfig(feedback="residual", glimpse=20, sigma=0.3),
    training=DAIR_TRAINING,
)

# bright objects on a background that is inferred, at a σ that the pictures decide
ON_BACKGROUND = replace(
    DAIR,
    model=replace(DAIR.model, background="network", sigma=None, evidence=240.0, what=30),
    training=replace(DAIR_TRAINING, iterations=1200, batch=128),
)

# Surfaces look about right from the start, so that presence can be dear after a few steps.
SPRITES = Config(
    scenes=SceneConfig(
        source="shapes", size=16.0, scale_mean=1.0, scale_std=0.0, channels=3, colour="class"
    ),
    model=AIRConfig(
        channels=3,
        glimpse=20,
        feedback="residual",
        background="constant",
        compositor="over",
        scale_prior=(-0.7, 0.15),
    ),
    training=TrainingConfig(
        iterations=500,
        batch=128,
        learning_rate=((0.0, 1e-4), (0.05, 1.5e-3), (0.5, 1.5e-3), (1.0, 2e-5)),
        prior_odds=((0.0, 10.0), (0.05, 10.0), (0.12, 2e-3), (0.4, 1e-4), (1.0, 1e-4)),
    ),
)

PRESETS = {
    # scikit-learn's 8x8 digits, drawn at about 13 px, so that no download is needed
    "digits": Config(
        scenes=SceneConfig(canvas=(32, 32), size=17.0, test_size=4_000),
        model=AIRConfig(height=32, width=32, glimpse=16, sigma=0.3),
    ),
    # the paper's multi-MNIST, section 3.1; in 800 steps, it counts 0.15 % fewer scenes right
    "multi-mnist": Config(
        scenes=SceneConfig(source="mnist"),
        model=AIRConfig(glimpse=20, sigma=0.3),
        training=TrainingConfig(iterations=1200),
    ),
    "dair": DAIR,
    # multi-MNIST for the impatient: a code of fewer dimensions settles earlier
    "quick": replace(
        DAIR,
        model=replace(DAIR.model, what=30),
        training=TrainingConfig(
            iterations=250,
            batch=128,
            learning_rate=((0.0, 1e-3), (0.1, 4e-3), (0.6, 4e-3), (1.0, 2e-5)),
            prior_odds=SHORT_ODDS,
            validate_every=50,
        ),
    ),
    # digits on squares of about 14 px, where those of multi-MNIST have 21
    "small-14": replace(
        DAIR,
        scenes=replace(DAIR.scenes, size=18.2),
        model=replace(DAIR.model, glimpse=14, scale_prior=(-0.94, 0.1)),
        training=replace(DAIR_TRAINING, iterations=800),
    ),
    "small-10": replace(
        DAIR,
        scenes=replace(DAIR.scenes, size=13.0),
        # at σ = 0.3 the ink of so small a digit hardly pays for its presence
        model=replace(DAIR.model, glimpse=10, scale_prior=(-1.39, 0.1), sigma=0.2),
        training=replace(DAIR_TRAINING, iterations=800),
    ),
    "many-5": replace(
        DAIR,
        scenes=replace(DAIR.scenes, canvas=(64, 64), counts=tuple(range(6)), train_size=30_000),
        model=replace(DAIR.model, height=64, width=64, steps=7, scale_prior=(-0.78, 0.1)),
        training=replace(DAIR_TRAINING, batch=128),
    ),
    "many-9": replace(
        DAIR,
        scenes=replace(DAIR.scenes, canvas=(96, 96), counts=tuple(range(10)), train_size=20_000),
        model=replace(DAIR.model, height=96, width=96, steps=11, scale_prior=(-1.33, 0.1)),
        training=replace(
            DAIR_TRAINING,
            iterations=1200,
            batch=64,
            learning_rate=((0.0, 1e-4), (0.06, 2e-3), (0.6, 2e-3), (1.0, 2e-5)),
            prior_odds=((0.0, 1.0), (0.3, 2e-2), (0.7, 2e-2), (0.9, 0.1), (1.0, 0.1)),
        ),
    ),
    # the digits of multi-MNIST under noise, and under a grid (Stelzner et al. 2019, section 4)
    "noisy": replace(ON_BACKGROUND, scenes=replace(DAIR.scenes, backdrop="noisy")),
    "grid": replace(ON_BACKGROUND, scenes=replace(DAIR.scenes, backdrop="grid")),
    # circles, squares and diamonds in the colour of their class (Stelzner et al. 2019, section 4)
    "supair-sprites": SPRITES,
    # up to four sprites that hide one another, in any of 125 colours (Kabra et al. 2019)
    "multi-dsprites": replace(
        SPRITES,
        scenes=replace(
            SPRITES.scenes,
            source="dsprites",
            canvas=(64, 64),
            counts=(1, 2, 3, 4),
            size=33.0,
            overlap="any",
            backdrop="levels",
            colour="levels",
            compose="over",
            train_size=40_000,
        ),
        model=replace(
            SPRITES.model,
            steps=5,
            height=64,
            width=64,
            # pixels have no noise and shapes are learned exactly, so that faint sprites can be told
            evidence=4000.0,
            scale_prior=(-0.5, 0.2),
        ),
        training=replace(
            SPRITES.training,
            iterations=1000,
            # nearly hidden sprites pay little, so presence gets cheaper once shapes are known
            prior_odds=(
                (0.0, 10.0),
                (0.05, 10.0),
                (0.12, 2e-3),
                (0.4, 1e-4),
                (0.7, 1e-4),
                (0.85, 3e-3),
                (1.0, 3e-3),
            ),
            sigma_factor=((0.0, 3.0), (0.1, 3.0), (0.5, 1.0), (1.0, 1.0)),
        ),
    ),
    # bright and dark digits in any colour on patches of photographs
    "photos": replace(
        SPRITES,
        scenes=replace(
            DAIR.scenes,
            channels=3,
            backdrop="photos",
            colour="contrast",
            compose="over",
            train_size=20_000,
        ),
        model=replace(
            SPRITES.model,
            steps=4,
            background="smooth",
            # what a smooth background leaves of photographs is not noise of single pixels
            likelihood="correlated",
            evidence=300.0,
            scale_prior=(-0.4, 0.1),
        ),
        training=replace(
            SPRITES.training,
            iterations=700,
            learning_rate=((0.0, 1e-4), (0.04, 1.5e-3), (0.7, 1.5e-3), (1.0, 2e-5)),
            # what photographs show beside the digits must not pay, so presence gets very dear
            prior_odds=(
                (0.0, 10.0),
                (0.05, 10.0),
                (0.12, 1e-6),
                (0.6, 1e-6),
                (0.8, 1e-12),
                (1.0, 1e-12),
            ),
        ),
    ),
    # handwritten characters, whose objects are strokes (section 3.2); see docs/omniglot.md
    "omniglot": replace(
        DAIR,
        scenes=SceneConfig(
            source="omniglot",
            counts=(1, 2, 3, 4),
            shares=(0.33, 0.31, 0.24, 0.12),  # as Omniglot has them
            size=50.0,
            scale_mean=1.1,
            scale_std=0.025,
            overlap="any",
            train_size=20_000,
            test_size=1_000,
        ),
        model=replace(
            DAIR.model, appearance="line", steps=4, glimpse=24, what=12, scale_prior=(0.8, 0.4)
        ),
        # a line is dear by its code alone, so that presence need not be
        training=replace(
            DAIR_TRAINING,
            iterations=400,
            batch=64,
            prior_odds=((0.0, 10.0), (0.3, 1.0), (1.0, 1.0)),
            validate_every=200,
            validation_scenes=500,
        ),
    ),
    # whole pictures of any size, as they are; see docs/whole-pictures.md
    "whole": Config(
        model=WholeConfig(),
        training=TrainingConfig(
            iterations=1200,
            batch=24,
            learning_rate=((0.0, 1e-4), (0.1, 3e-3), (0.6, 3e-3), (1.0, 2e-5)),
            prior_odds=SHORT_ODDS,
            validate_every=200,
            snapshots=12,
        ),
    ),
    # the paper's baseline (Gregor et al. 2015)
    "draw": Config(
        scenes=SceneConfig(source="mnist"),
        model=DRAWConfig(),
        training=TrainingConfig(
            iterations=1500, batch=64, learning_rate=((0.0, 1e-4), (0.05, 1e-3), (1.0, 1e-4))
        ),
    ),
    # a whole picture as one code, the paper's other baseline (section 3.1.2)
    "autoencoder": Config(
        scenes=SceneConfig(source="mnist"),
        model=AutoencoderConfig(),
        training=TrainingConfig(
            iterations=1500, batch=128, learning_rate=((0.0, 1e-3), (0.5, 1e-3), (1.0, 1e-5))
        ),
    ),
    # a cube, a ball or a cylinder on a table, inferred through the renderer (section 3.3)
    "object3d": Config(
        scenes=SceneConfig(
            canvas=(32, 32),
            counts=(1,),
            channels=3,
            size=8.0,  # of sprites, of which there are none
            scale_mean=1.0,
            scale_std=0.0,
            train_size=20_000,
            test_size=2_000,
        ),
        model=RenderedConfig(painter="mujoco"),
        training=TrainingConfig(
            iterations=1200,
            batch=32,
            learning_rate=((0.0, 1e-3), (0.5, 1e-3), (0.75, 3e-4), (1.0, 1e-5)),
            clip=10.0,
            compile="off",
            validate_every=300,
            validation_scenes=500,
        ),
    ),
    # up to three mugs, plates and pans on a table, seen by a camera that moves (Figure 7)
    "table3d": Config(
        scenes=SceneConfig(
            canvas=(48, 48),
            counts=(0, 1, 2, 3),
            channels=3,
            size=8.0,  # of sprites, of which there are none
            scale_mean=1.0,
            scale_std=0.0,
            train_size=1_000,  # they tell the bound, and are not learned from
            test_size=2_000,
        ),
        model=TabletopConfig(objects="crockery", painter="mujoco", settled=True),
        training=TrainingConfig(
            iterations=2000,
            batch=48,
            learning_rate=((0.0, 1e-4), (0.03, 1.5e-3), (0.5, 1.5e-3), (0.8, 3e-4), (1.0, 1e-5)),
            clip=10.0,
            compile="off",
            validate_every=500,
            validation_scenes=300,
        ),
    ),
}


def preset_named(name: str) -> Config:
    """The preset's configuration.

    Raises:
        UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"preset {name} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
