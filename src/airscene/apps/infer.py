"""The command `infer`: what is in pictures, as files."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from PIL import Image
from tyro.conf import Positional

from airscene.apps.overwriting import first_read, refuse_to_overwrite
from airscene.data import UserImages, as_scenes, load_images
from airscene.data.whole import picture_files
from airscene.errors import UserError
from airscene.experiments.machine import best_device
from airscene.files import check_writable, write_text, write_whole
from airscene.kinds import kind_of
from airscene.models.air_config import STEPS
from airscene.ranges import check_value
from airscene.report import figures
from airscene.results import placements
from airscene.results.predictions import (
    FORMATS,
    LABELS,
    Prediction,
    label_images,
    picture_name,
    predictions,
    save_labels,
)
from airscene.results.whole import Targets
from airscene.runs import (
    Run,
    infer_whole,
    load_run,
    own_files,
)

WHOLE_ALONE = "this run has pictures of one size; train with --images"


@dataclass(frozen=True)
class Infer:
    """Count and locate the objects in images, or tell kind and pose of the one in 3D scenes."""

    run_folder: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    paths: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PATH...")]
    """Images, folders of images, .npy or .npz (first array, or key x)."""
    out: Path
    """File to write."""
    format: Literal["jsonl", "csv", "coco", "coco-results"] = "jsonl"
    """Format of the file."""
    overlay: Path | None = None
    """Folder for pictures of the images with their boxes."""
    labels: Path | None = None
    """Folder for label images, TIFF: k where a pixel shows the k-th object, else 0."""
    table: Path | None = None
    """CSV file with a row for each object, of a run that was trained on --images."""
    features: bool = False
    """Write the appearance code of each object too, of a run that was trained on --images."""
    max_objects: int | None = None
    """Largest count to allow for, 1 to 1000; that of training unless given."""

    def run(self) -> int:
        """Writes one prediction an image, in order."""
        if self.max_objects is not None:
            check_value("--max-objects", self.max_objects, STEPS)
        if not self.paths:
            raise UserError("PATH is missing; name an image, a folder, .npy or .npz")
        run = load_run(self.run_folder, best_device())
        if kind_of(run.config.model).place is not None:
            return self._place(run)
        if kind_of(run.config.model).whole:
            return self._run_whole(run)
        self._refuse({"--table": self.table, "--features": self.features or None}, WHOLE_ALONE)
        detect, canvas = run.detector(), run.config.model
        check_writable(self.out)
        self._check_folders()
        inputs = [load_images(path, white=run.white) for path in self.paths]
        self._refuse_to_overwrite(inputs, own_files(run.path))
        rows = []
        for images in inputs:
            scenes, scale = as_scenes(images, (canvas.channels, canvas.height, canvas.width))
            found = detect(scenes.pixels(), self.max_objects)
            part = predictions(images, found, scale)
            if self.overlay:
                save_pictures(self.overlay, images, overlays(images, part), len(rows))
            if self.labels:
                save_label_images(self.labels, images, label_images(images, found), len(rows))
            rows += part
        write_text(self.out, FORMATS[self.format](rows))
        if full := sum(row.saturated for row in rows):
            warnings.warn(
                f"{full} of {len(rows)} images hold as many objects as were allowed for, and maybe "
                f"more; raise --max-objects",
                stacklevel=2,
            )
        print(f"{len(rows)} images, {sum(row.count for row in rows)} objects: {self.out}")
        return 0

    def _place(self, run: Run) -> int:
        """Writes kind and pose of the object in each picture of a 3D scene."""
        given = {"--overlay": self.overlay, "--labels": self.labels, "--table": self.table}
        given |= {"--features": self.features or None, "--max-objects": self.max_objects}
        given |= {"--format": None if self.format == "jsonl" else self.format}
        reason = f"kinds and poses of {run.path} are written as JSON lines; leave it out"
        self._refuse(given, reason)
        check_writable(self.out)
        canvas = run.config.model
        inputs = [load_images(path, white=run.white) for path in self.paths]
        self._refuse_to_overwrite(inputs, own_files(run.path))
        text = ""
        for images in inputs:
            scenes, _ = as_scenes(images, (canvas.channels, canvas.height, canvas.width))
            text += placements.as_jsonl(images, run.place(scenes.pixels()))
        write_text(self.out, text)
        print(f"{text.count(chr(10))} images: {self.out}")
        return 0

    def _run_whole(self, run: Run) -> int:
        """The same with a model of whole pictures, one picture after the other."""
        self._refuse({"--max-objects": self.max_objects}, "whole pictures have no largest count")
        if self.format != "jsonl":
            raise UserError(f"--format {self.format}: whole pictures give JSON lines and a --table")
        targets = Targets(self.out, self.table, self.labels, self.overlay, self.features)
        files = picture_files(self.paths)
        self._check_targets(files, own_files(run.path))
        pictures, objects = infer_whole(run, files, targets)
        print(f"{pictures} images, {objects} objects: {self.out}")
        return 0

    def _refuse(self, flags: Mapping[str, object], reason: str) -> None:
        """Refuses flags that this kind of run does not know."""
        for flag, value in flags.items():
            if value is not None:
                raise UserError(f"{flag} has no effect: {reason}")

    def _check_targets(self, files: list[Path], own: list[Path]) -> None:
        """Refuses what cannot be written, or what would write over what is read."""
        for path in (self.out, self.table):
            if path:
                check_writable(path)
                refuse_to_overwrite(path, [*own, *files])
        if self.table and self.table.resolve() == self.out.resolve():
            raise UserError(f"--table {self.table} is the file of --out; name another file")
        folders = {"--labels": self.labels, "--overlay": self.overlay}
        read = {file.resolve().parent for file in files}
        for flag, folder in folders.items():
            if folder:
                check_writable(folder / "0.png")
            if folder and folder.resolve() in read:
                raise UserError(f"{flag} {folder} holds pictures to read; name another folder")

    def _check_folders(self) -> None:
        """Refuses folders for pictures that cannot be written."""
        for folder in (self.overlay, self.labels):
            if folder:
                check_writable(folder / "0.png")

    def _refuse_to_overwrite(self, inputs: list[UserImages], own: list[Path]) -> None:
        """Refuses to write the file or a picture over what is read."""
        read = [*own, *{Path(source) for images in inputs for source in images.sources}]
        refuse_to_overwrite(self.out, read)
        images = [pair for part in inputs for pair in zip(part.sources, part.indices, strict=True)]
        names = [picture_name(k, *image) for k, image in enumerate(images)]
        kinds = (("--overlay", self.overlay, ".png"), ("--labels", self.labels, LABELS))
        for flag, folder, ending in kinds:
            written = [(folder / name).with_suffix(ending) for name in names] if folder else []
            if clash := first_read(written, read):
                reason = f"would write over {clash.name}, which is read"
                raise UserError(f"{flag} {folder} {reason}; name another folder")


def overlays(images: UserImages, rows: list[Prediction]) -> Iterator[Image.Image]:
    """Each image with its boxes, in order."""
    for image, row in zip(images.images, rows, strict=True):
        pixels = image.numpy() / 255 if image.dtype == torch.uint8 else image.numpy()
        boxes = np.array(row.boxes).reshape(-1, 4)
        yield figures.overlay(pixels, boxes, [f"{score:.2f}" for score in row.scores])


def save_pictures(
    folder: Path, images: UserImages, pictures: Iterable[Image.Image], first: int
) -> None:
    """Writes a PNG for each image, numbered in order."""
    named = zip(images.sources, images.indices, pictures, strict=True)
    for k, (source, index, picture) in enumerate(named, start=first):
        path = folder / picture_name(k, source, index)
        write_whole(path, lambda temporary, picture=picture: picture.save(temporary))


def save_label_images(
    folder: Path, images: UserImages, labels: list[np.ndarray], first: int
) -> None:
    """Writes a label image for each image, numbered in order."""
    named = zip(images.sources, images.indices, labels, strict=True)
    for k, (source, index, pixels) in enumerate(named, start=first):
        save_labels(pixels, (folder / picture_name(k, source, index)).with_suffix(LABELS))
