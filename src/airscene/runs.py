"""A run: the folder that one training fills, and what can be done with it afterwards."""

import dataclasses
import json
import math
import shutil
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from airscene.baselines.draw import DRAW
from airscene.config import Config, load_config, save_config
from airscene.data import Composer, Scenes, compose_split, load_sprites, training_images
from airscene.detections import Detections, detect
from airscene.errors import UserError
from airscene.evaluation import evaluate
from airscene.figures import View
from airscene.files import finite, write_text
from airscene.models.air import AIR, AIRConfig
from airscene.report import ReportData, write_report
from airscene.spatial import window_box
from airscene.training.checkpoints import Position, load_model
from airscene.training.logging import METRICS, Progress, read_metrics
from airscene.training.loop import CHECKPOINT, Sources, Trainer
from airscene.training.objectives import make_objective
from airscene.training.snapshots import load_snapshots, take_view, telling
from airscene.training.streams import FixedScenes, FreshScenes

CONFIG, EVALUATION = "config.json", "evaluation.json"
CONTENTS = (CONFIG, CHECKPOINT, METRICS, EVALUATION, "report.html")
FOLDERS = ("snapshots", "tensorboard", "figures")

TEST_SEED, VALIDATION_SEED = 0, 1  # the same held-out scenes for every run, so that runs compare
LARGEST_SIDE = 128  # in pixels; the user's larger images are shrunk, as cost grows with the area
MISTAKES, REPORT_SCENES = 8, 2000
HELD_OUT = "held-out"  # in evaluation.json: the scenes were the run's own


@dataclass(frozen=True)
class Run:
    """A trained model with its configuration.

    Attributes:
        path: the run's folder.
        config: the configuration it was trained with.
        model: the model, in evaluation mode.
        position: how far its training had come.
    """

    path: Path
    config: Config
    model: AIR | DRAW
    position: Position

    def infer(self, images: np.ndarray | Tensor, max_objects: int | None = None) -> Detections:
        """Counts and locates the objects in images.

        Args:
            images: floats in [0, 1] or bytes, shape (M, H, W) or (M, C, H, W), of the canvas size.
            max_objects: the largest count to allow for; that of training unless given.

        Raises:
            UserError: the shape does not fit the model's canvas, a value is out of range, or the
                model is DRAW.
        """
        model = self.counting_model()
        tensor = torch.as_tensor(images)
        tensor = tensor.unsqueeze(1) if tensor.ndim == 3 else tensor
        pixels = Scenes(tensor).pixels().float()
        c = self.config.model
        if tensor.shape[1:] != (c.channels, c.height, c.width):
            raise UserError(
                f"images have shape {tuple(tensor.shape)}; the model at {self.path} takes "
                f"(M, {c.channels}, {c.height}, {c.width})"
            )
        if not ((pixels >= 0) & (pixels <= 1)).all():  # false for NaN too
            raise UserError("images hold NaN or values outside [0, 1]; scale floats to [0, 1]")
        return detect(model, pixels, max_objects)

    def counting_model(self) -> AIR:
        """The model, if it is one that finds objects.

        Raises:
            UserError: it is DRAW.
        """
        if isinstance(self.model, DRAW):
            raise UserError(
                f"{self.path} holds DRAW, which has no objects; name a run of AIR or DAIR"
            )
        return self.model


def load_run(path: Path | str, device: str | torch.device = "cpu") -> Run:
    """Loads a trained run.

    Args:
        path: the folder that `airscene train` filled.
        device: where the model is to live.

    Raises:
        UserError: the folder holds no run, or a damaged one.
    """
    path = Path(path)
    config = load_config(path / CONFIG)
    model = make_objective(config).model
    position = load_model(path / CHECKPOINT, model)
    return Run(path, config, model.to(device).eval(), position)


def train_run(
    config: Config,
    out: Path,
    data_dir: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: float = math.inf,
) -> str:
    """Trains a model into a folder.

    Args:
        config: the configuration; its canvas is settled by the data.
        out: the run's folder.
        data_dir: where MNIST lies, if it is not to be downloaded.
        resume: go on from the folder's checkpoint.
        overwrite: replace the run that the folder holds.
        minutes: stop after so many minutes of training, over all sittings.

    Returns:
        Why training ended.

    Raises:
        UserError: the folder holds another run, or the data or a setting is at fault.
    """
    if not minutes >= 0:
        raise UserError(f"--max-minutes is {minutes:g}; it must not be negative")
    if config.data:  # so that the run can be evaluated from another folder
        config = replace(config, data=str(Path(config.data).resolve()))
    accelerator = make_accelerator(config)
    check_folder(out, config, resume, overwrite)
    config, sources = make_sources(config, data_dir, accelerator.device)
    accelerator.wait_for_everyone()  # until all have seen the folder as it was
    if accelerator.is_main_process:
        if overwrite:
            clear(out)
        save_config(config, out / CONFIG)
    accelerator.wait_for_everyone()
    trainer = Trainer(config, out, sources, accelerator)
    if resume and (out / CHECKPOINT).exists():
        trainer.resume()
    with Progress(config.training.iterations, accelerator.is_main_process) as progress:
        return trainer.run(progress, minutes)


def make_accelerator(config: Config) -> Accelerator:
    """The device, precision and processes that a training of this configuration uses."""
    # Without being told of CPUs, accelerate takes several processes on them for strangers.
    cpu = not torch.accelerator.is_available()
    return Accelerator(cpu=cpu, mixed_precision=config.training.precision)


def check_folder(out: Path, config: Config, resume: bool, overwrite: bool) -> None:
    """Refuses to mix two runs in one folder.

    Raises:
        UserError: the folder holds a run and neither flag allows to touch it, or both do, or the
            run to resume was trained with another configuration.
    """
    if resume and overwrite:
        raise UserError("--resume keeps a run and --overwrite removes it; give one of them")
    if overwrite or not (out / CONFIG).exists():
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out} is a file; name a folder")
        return
    if not resume:
        raise UserError(
            f"--out {out} holds a run; add --resume or --overwrite, or name another folder"
        )
    changed = differences(dataclasses.asdict(load_config(out / CONFIG)), dataclasses.asdict(config))
    if changed:
        raise UserError(f"--resume: {out} was trained with another configuration: {changed[0]}")


def differences(saved: dict[str, Any], given: dict[str, Any], prefix: str = "") -> list[str]:
    """Which fields differ, as text. The canvas is left out: the data settles it."""
    found = []
    for name, value in saved.items():
        if isinstance(value, dict):
            found += differences(value, given[name], f"{prefix}{name}.")
        elif value != given[name] and f"{prefix}{name}" not in CANVAS_FIELDS:
            found.append(f"--{prefix}{name} is {value} there and {given[name]} here")
    return found


CANVAS_FIELDS = ("model.channels", "model.height", "model.width")


def clear(out: Path) -> None:
    """Removes what an earlier run left in its folder, and nothing else."""
    for name in CONTENTS:
        (out / name).unlink(missing_ok=True)
    for name in FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)


def make_sources(
    config: Config, data_dir: Path | None, device: torch.device | str
) -> tuple[Config, Sources]:
    """The data of a training, and the configuration with the canvas that the data settles."""
    if config.data:
        train, validation = _own_scenes(config)
    else:
        _warn_of_small_n(config)
        validation = compose_split(
            replace(config.scenes, test_size=config.training.validation_scenes),
            "test",
            VALIDATION_SEED,
            data_dir,
        )
        train = None
    config = _with_canvas(config, validation)
    if train is None and config.training.fresh:
        sprites = load_sprites(config.scenes.source, "train", data_dir)
        stream = FreshScenes(Composer(sprites, config.scenes).to(device))
    else:
        train = train or compose_split(config.scenes, "train", config.seed, data_dir)
        stream = FixedScenes(train.to(device))
    return config, Sources(stream, validation)


def test_scenes(run: Run, data: Path | None = None, data_dir: Path | None = None) -> Scenes:
    """The scenes to evaluate a run on: `data`, else its own held-out scenes."""
    c = run.config
    if data is not None:
        scenes = training_images(data, (c.model.height, c.model.width))
        if scenes.image.shape[1] != c.model.channels:
            raise UserError(
                f"--data {data} has {scenes.image.shape[1]} channels; the model takes "
                f"{c.model.channels}"
            )
        return scenes
    if c.data:
        return _own_scenes(c)[1]
    return compose_split(c.scenes, "test", TEST_SEED, data_dir)


def evaluate_run(run: Run, scenes: Scenes, data: Path | None = None) -> dict[str, Any]:
    """Evaluates a run on scenes and writes its evaluation.json, where NaN becomes null.

    Args:
        run: a trained run.
        scenes: what to evaluate on.
        data: where the scenes came from, if they are not the run's own held-out ones.
    """
    torch.manual_seed(0)
    table = {"data": str(data.resolve()) if data else HELD_OUT}
    table |= finite(evaluate(run.model, scenes))
    write_text(run.path / EVALUATION, json.dumps(table, indent=2) + "\n")
    return table


def report_run(run: Run, scenes: Scenes) -> Path:
    """Draws the figures of a run and writes its report.html.

    Args:
        run: a trained run.
        scenes: its own held-out scenes; they are evaluated first unless that was done.
    """
    evaluation = _read_evaluation(run)
    if evaluation.get("data") != HELD_OUT:
        evaluation = evaluate_run(run, scenes)
    data = ReportData(
        title=f"airscene: {run.path.name}",
        config=dataclasses.asdict(run.config),
        metrics=read_metrics(run.path),
        evaluation=evaluation,
        stages=load_snapshots(run.path),
        canvas=(run.config.model.height, run.config.model.width),
        **(_findings if isinstance(run.model, AIR) else _steps)(run, scenes[:REPORT_SCENES]),
    )
    return write_report(data, run.path)


def _read_evaluation(run: Run) -> dict[str, Any]:
    """What evaluation.json holds; nothing where it is missing or damaged, as it can be redone."""
    try:
        return json.loads((run.path / EVALUATION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _findings(run: Run, scenes: Scenes) -> dict[str, Any]:
    """Where a model of objects looks, and which scenes it counts wrong."""
    found = detect(run.counting_model(), scenes.pixels())
    used = torch.arange(found.windows.shape[1]) < found.count[:, None]
    windows = found.windows.masked_fill(~used[..., None], torch.nan).numpy()
    return {"windows": windows, "mistakes": _mistakes(run, scenes, found)}


def _steps(run: Run, scenes: Scenes) -> dict[str, Any]:
    """How DRAW paints its canvas, step by step."""
    model, image = run.model, scenes[telling(scenes)].pixels()
    assert isinstance(model, DRAW)
    inputs = image.to(next(model.parameters()).device)
    windows = window_box(model.infer(inputs).windows)
    canvases = model.canvases(inputs)
    return {"drawing": (image.numpy(), canvases.cpu().numpy(), windows.cpu().numpy())}


def _mistakes(run: Run, scenes: Scenes, found: Detections) -> tuple[View, np.ndarray] | None:
    """The first few scenes that are counted wrong, with their true counts."""
    if scenes.count is None:
        return None
    wrong = (found.count != scenes.count).nonzero().squeeze(1)[:MISTAKES]
    return (
        (take_view(run.model, scenes[wrong]), scenes.count[wrong].numpy()) if len(wrong) else None
    )


def own_images(data: Path) -> tuple[Scenes, float]:
    """The user's images at the size in which they are trained on, and by what they were shrunk.

    Raises:
        UserError: there are none, or they cannot be read.
    """
    scenes = training_images(data)
    height, width = scenes.image.shape[-2:]
    shrink = min(1.0, LARGEST_SIDE / max(height, width))
    if shrink < 1:
        scenes = training_images(data, (round(height * shrink), round(width * shrink)))
    return scenes, shrink


def _own_scenes(config: Config) -> tuple[Scenes, Scenes]:
    """The user's images, and those of them that are held out: a tenth, drawn by the seed."""
    scenes, _ = own_images(Path(config.data))
    if len(scenes) < 2:
        raise UserError(f"--data {config.data} holds one image; training needs at least two")
    order = torch.randperm(len(scenes), generator=torch.Generator().manual_seed(config.seed))
    held = min(max(1, len(scenes) // 10), config.training.validation_scenes)
    return scenes[order[held:]], scenes[order[:held]]


def _with_canvas(config: Config, scenes: Scenes) -> Config:
    channels, height, width = scenes.image.shape[1:]
    return replace(
        config, model=replace(config.model, channels=channels, height=height, width=width)
    )


def _warn_of_small_n(config: Config) -> None:
    if not isinstance(config.model, AIRConfig):
        return
    most = max(config.scenes.counts)
    if config.model.steps < most:
        warnings.warn(
            f"--model.steps {config.model.steps} is below the {most} objects of --scenes.counts: "
            f"larger scenes will be counted as {config.model.steps}",
            stacklevel=3,
        )
