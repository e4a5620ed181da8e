import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from airscene.config import Config, TrainingConfig
from airscene.errors import UserError
from airscene.estimators import ESTIMATORS, EstimationConfig
from airscene.kinds import kind_of, make_objective
from airscene.models.air_config import AIRConfig
from airscene.models.draw import DRAWConfig
from airscene.presets import PRESETS
from airscene.runs.config_file import load_config, save_config

LAST_RELEASE = Path(__file__).parent / "runs" / "last_release"


@pytest.fixture
def write(tmp_path):
    """Saves the default configuration with the value at a dotted place replaced."""

    def change(place: str, value: object):
        values = json.loads(save_config(Config(), tmp_path / "config.json").read_text())
        *parents, name = place.split(".")
        part = values
        for parent in parents:
            part = part[parent]
        part[name] = value
        (tmp_path / "config.json").write_text(json.dumps(values))
        return tmp_path / "config.json"

    return change


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_comes_back_from_disk(name, tmp_path):
    path = save_config(PRESETS[name], tmp_path / "folder" / "config.json")
    assert load_config(path) == PRESETS[name]


def test_every_changed_field_comes_back(tmp_path):
    config = replace(
        Config(),
        data="scenes.npz",
        estimator="concrete",
        estimation=EstimationConfig(3, ((0.0, 0.5),), True, 2.0),
        seed=3,
        model=AIRConfig(steps=5, sigma=0.2, count_prior="binomial"),
        training=TrainingConfig(learning_rate=((0.0, 1e-3),), compile="off", fresh=True),
    )
    assert load_config(save_config(config, tmp_path / "config.json")) == config


def test_the_file_is_plain_json_with_every_field(tmp_path):
    values = json.loads(save_config(Config(), tmp_path / "config.json").read_text())
    assert values.keys() == asdict(Config()).keys()
    assert values["model"] == json.loads(json.dumps({"kind": "air", **asdict(AIRConfig())}))
    assert values["training"].keys() == asdict(TrainingConfig()).keys()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_its_scenes(name):
    preset = PRESETS[name]
    assert make_objective(preset).model.config == preset.model
    if kind_of(preset.model).whole:  # it learns from the user's pictures alone
        return
    assert (preset.model.height, preset.model.width) == preset.scenes.canvas
    kind = kind_of(preset.model)
    finds_objects = kind.detect is not None or kind.place is not None
    assert not finds_objects or preset.model.steps >= max(preset.scenes.counts)
    assert preset.data == "" and preset.estimator in ESTIMATORS


def test_the_kind_names_the_model(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"model": {"kind": "draw", "steps": 7}}')
    assert load_config(path).model == DRAWConfig(steps=7)


@pytest.mark.parametrize("kind", ["vae", None, 3, ["air"], {}])
def test_an_unknown_kind_is_named_with_those_that_there_are(write, kind):
    with pytest.raises(UserError, match=r"model\.kind is .*; the kinds are air, draw"):
        load_config(write("model.kind", kind))


def test_a_field_of_another_kind_is_unknown(write):
    with pytest.raises(UserError, match=r"model\.read is unknown"):
        load_config(write("model.read", 5))


@pytest.mark.parametrize(
    ("name", "preset"), [("air", "digits"), ("dair", "dair"), ("draw", "draw")]
)
def test_a_file_of_the_last_release_which_names_no_kind_is_read(name, preset):
    path = LAST_RELEASE / f"{name}.json"
    assert "kind" not in json.loads(path.read_text())["model"]
    assert load_config(path) == PRESETS[preset]


def test_fields_left_out_take_their_defaults(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"seed": 4, "model": {"steps": 7}}')
    assert load_config(path) == Config(seed=4, model=AIRConfig(steps=7))


def test_whole_numbers_serve_as_floats(write):
    assert load_config(write("training.clip", 3)).training.clip == 3.0


@pytest.mark.parametrize("place", ["sede", "model.stepps", "training.rate"])
def test_an_unknown_field_is_named(write, place):
    with pytest.raises(UserError, match=f"config.json is no configuration .*: {place} is unknown"):
        load_config(write(place, 1))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("seed", "0"),
        ("seed", 0.5),
        ("seed", True),
        ("seed", None),
        ("data", 5),
        ("estimator", ["enumerate"]),
        ("model", 3),
        ("model", None),
        ("model.lstm", 2.5),
        ("model.scale_prior", [1.0]),
        ("model.scale_prior", [1.0, "a"]),
        ("model.count_prior", "uniform"),
        ("training.iterations", "many"),
        ("training.fresh", "no"),
        ("training.compile", "perhaps"),
        ("training.learning_rate", 0.001),
        ("training.learning_rate", [0.0, 0.001]),
        ("training.learning_rate", [[0.0, 0.001, 1.0]]),
        ("scenes.canvas", [50]),
        ("scenes.canvas", [50, "50"]),
        ("scenes.counts", {"0": 1}),
    ],
)
def test_a_value_of_another_type_is_named(write, place, value):
    with pytest.raises(UserError, match=f"config.json is no configuration .*: {place} is ") as told:
        load_config(write(place, value))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["[]", "3", "null"])
def test_a_file_that_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json is no configuration"):
        load_config(tmp_path / "config.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00"])
def test_a_file_that_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json cannot be read as JSON"):
        load_config(tmp_path / "config.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.json does not exist; name the folder of a run"):
        load_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("seed", -1),
        ("estimator", "magic"),
        ("training.batch", 0),
        ("training.learning_rate", []),
        ("model.steps", 0),
        ("scenes.background", 1.0),
        ("scenes.source", "stars"),
        ("scenes.visible", 2.0),
    ],
)
def test_a_value_out_of_range_is_named(write, place, value):
    with pytest.raises(UserError, match=place.split(".")[-1].replace("_", "[-_]")):
        load_config(write(place, value))


def test_a_file_of_an_earlier_version_has_grey_sums_on_a_plain_backdrop(tmp_path):
    path = save_config(Config(), tmp_path / "config.json")
    values = json.loads(path.read_text())
    for name in ("backdrop", "channels", "colour", "contrast", "compose", "visible"):
        del values["scenes"][name]
    path.write_text(json.dumps(values))
    assert load_config(path) == Config()


def test_vimco_has_two_samples_at_least():
    one = EstimationConfig(samples=1)
    with pytest.raises(UserError, match=r"--estimation\.samples is 1; vimco .* at least 2"):
        Config(estimator="vimco", estimation=one)
    assert Config(estimator="iwae", estimation=one).estimation == one


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (TrainingConfig, "learning_rate"),
        (TrainingConfig, "prior_odds"),
        (TrainingConfig, "sigma_factor"),
        (EstimationConfig, "temperature"),
    ],
)
def test_the_order_of_schedules_is_checked(kind, name):
    flag = name.replace("_", "-")
    with pytest.raises(UserError, match=rf"--(training|estimation)\.{flag} has .* rise"):
        kind(**{name: ((0.5, 1.0), (0.2, 1.0))})


def test_sigma_ends_at_the_model_s_own():
    with pytest.raises(UserError, match=r"--training\.sigma-factor ends at 2; let its last"):
        TrainingConfig(sigma_factor=((0.0, 4.0), (1.0, 2.0)))
