"""The trainings that come with a name."""

from airscene.config import Config, TrainingConfig
from airscene.data import SceneConfig
from airscene.models.air import AIRConfig

PRESETS = {
    # scikit-learn's 8x8 digits, drawn at about 13 px, so that no download is needed
    "digits": Config(
        scenes=SceneConfig(canvas=(32, 32), size=17.0, test_size=4_000),
        model=AIRConfig(height=32, width=32, glimpse=16),
    ),
    # the paper's multi-MNIST, section 3.1
    "multi-mnist": Config(
        scenes=SceneConfig(source="mnist"),
        model=AIRConfig(glimpse=20),
        training=TrainingConfig(iterations=800),
    ),
}
