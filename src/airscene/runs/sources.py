"""Where the scenes of a run come from: composed at random, or the user's own pictures."""

import warnings
from dataclasses import replace
from pathlib import Path

import torch

from airscene.config import Config
from airscene.core.evidence import PICTURES
from airscene.data import Composes, Scenes, draw_split
from airscene.data.mnist import Split
from airscene.errors import UserError
from airscene.kinds import kind_of
from airscene.runs.crops import held_out_crops, test_crops, whole_pictures
from airscene.runs.pictures import Pictures, held_out, load_own, split_pictures
from airscene.runs.run import Run
from airscene.training.loop import Sources
from airscene.training.streams import FixedScenes, FreshScenes

TEST_SEED, VALIDATION_SEED = 0, 1  # the same held-out scenes for every run, so that runs compare


def make_sources(
    config: Config,
    data_dir: Path | None,
    device: torch.device | str,
    pictures: Pictures | None = None,
) -> tuple[Config, Sources]:
    """The data of a training, and the configuration with the settings that the data decide.

    Args:
        config: what is to be trained.
        data_dir: where MNIST lies, if it is not to be downloaded.
        device: where fixed scenes are to lie.
        pictures: the user's, if they have been loaded.

    Raises:
        UserError: the data cannot be had.
    """
    if config.data:
        if pictures is None:
            config, pictures = own_pictures(config)
        stream = FixedScenes(pictures.train.to(device))
        return fitted(config, pictures.train), Sources(stream, pictures.held_out)
    _warn_of_small_n(config)
    few = replace(config.scenes, test_size=config.training.validation_scenes)
    validation = composed(replace(config, scenes=few), "test", VALIDATION_SEED, data_dir)
    sources = Sources(_stream(config, data_dir, device), validation)
    return fitted(config, validation), sources


def own_pictures(config: Config) -> tuple[Config, Pictures]:
    """The user's pictures, and the configuration with how they are prepared.

    Args:
        config: what is to be trained on them.

    Raises:
        UserError: they cannot be read, or there are too few of them.
    """
    if kind_of(config.model).whole:
        return whole_pictures(config)
    return config, split_pictures(config)


def test_scenes(run: Run, data: Path | None = None, data_dir: Path | None = None) -> Scenes:
    """The scenes to evaluate a run on: those in `data`, else its own held-out ones.

    Args:
        run: a trained run.
        data: a folder, a file or an array of other pictures.
        data_dir: where MNIST lies, if it is not to be downloaded.

    Raises:
        UserError: the scenes cannot be had, or have other colour channels than the model.
    """
    if data is None:
        return own_scenes(run, None, data_dir)
    model = run.config.model
    if kind_of(model).whole:
        return test_crops(run.config, data)
    scenes, _, _ = load_own(data, (model.height, model.width), run.white)
    if scenes.image.shape[1] != model.channels:
        raise UserError(
            f"--data {data} has {scenes.image.shape[1]} channels; the model takes {model.channels}"
        )
    return scenes


def own_scenes(
    run: Run, moved: Path | None = None, data_dir: Path | None = None, seed: int = TEST_SEED
) -> Scenes:
    """A run's own held-out scenes.

    Args:
        run: a trained run.
        moved: where its pictures lie now, if they are the user's and were moved.
        data_dir: where MNIST lies, if it is not to be downloaded.
        seed: of scenes that are composed, at least 0.

    Raises:
        UserError: the scenes cannot be had.
    """
    if run.config.data:
        read = held_out_crops if kind_of(run.config.model).whole else held_out
        return _fitting(read(run.config, run.path, moved), run)
    if moved:
        raise UserError(
            f"--data {moved} has no effect: {run.path} was trained on composed scenes, which are "
            f"composed anew; leave it out"
        )
    scenes = composed(run.config, "test", seed, data_dir, masks=True)
    return _fitting(scenes, run)


def composed(
    config: Config, split: Split, seed: int, data_dir: Path | None, masks: bool = False
) -> Scenes:
    """The training or the test scenes of a seed, of the kind that the configured model is for.

    Args:
        config: what the scenes look like, and of which model.
        split: `train` or `test`.
        seed: at least 0.
        data_dir: where MNIST lies, if it is not to be downloaded.
        masks: whether to tell which object is where, if that is known.

    Raises:
        UserError: the scenes cannot be had.
    """
    return draw_split(_composer(config, split, data_dir), config.scenes, split, seed, masks)


def _composer(config: Config, split: Split, data_dir: Path | None) -> Composes:
    return kind_of(config.model).composer(config, split, data_dir)


def _fitting(scenes: Scenes, run: Run) -> Scenes:
    """The scenes, if they have the size that the model takes.

    Raises:
        UserError: they have another one, as of a config.json that was changed.
    """
    model = run.config.model
    size, wanted = tuple(scenes.image.shape[1:]), (model.channels, model.height, model.width)
    if size != wanted:
        raise UserError(
            f"the scenes of {run.path} have channels, height and width {size}; its model takes "
            f"{wanted}; restore the config.json it was trained with"
        )
    return scenes


def fitted(config: Config, scenes: Scenes) -> Config:
    """The configuration with all of the model's settings that pictures settle.

    Args:
        config: what is to be trained.
        scenes: of the training, or like them; the first are looked at.

    Raises:
        UserError: the pictures cannot be modelled so.
    """
    return replace(config, model=config.model.fitted(scenes[:PICTURES].pixels()))


def _stream(
    config: Config, data_dir: Path | None, device: torch.device | str
) -> FixedScenes | FreshScenes:
    if config.training.fresh:
        return FreshScenes(_composer(config, "train", data_dir).to(device))
    scenes = composed(config, "train", config.seed, data_dir)
    return FixedScenes(scenes.to(device))


def _warn_of_small_n(config: Config) -> None:
    if kind_of(config.model).detect is None:
        return
    most = max(config.scenes.counts)
    if config.model.steps < most:
        warnings.warn(
            f"--model.steps {config.model.steps} is below the {most} objects of --scenes.counts: "
            f"larger scenes will be counted as {config.model.steps}",
            stacklevel=3,
        )
