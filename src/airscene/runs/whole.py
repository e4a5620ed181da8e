"""Inference of a run on whole pictures, as many and as large as they are."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.progress import track

from airscene.core.layers import size_of
from airscene.data.whole import WholePicture, read_pictures
from airscene.models.whole import WholeAIR
from airscene.results.labelling import label
from airscene.results.whole import Found, Targets, open_writer
from airscene.runs.run import Run


def find_in(run: Run, pictures: Iterable[WholePicture]) -> Iterator[Found]:
    """The objects of each picture, one picture after the other.

    Args:
        run: of a model of whole pictures.
        pictures: of any sizes.
    """
    model = cast(WholeAIR, run.model)
    contrast = model.config.contrast
    for picture in pictures:
        longer = contrast.longer(picture.pixels)
        prepared = contrast.prepare(picture.pixels, longer)
        objects = model.explain_whole(prepared.to(model.device))
        seen = contrast.show(picture.pixels, longer)
        yield Found(picture, label(seen, objects, size_of(prepared)))


def infer_whole(run: Run, files: list[Path], targets: Targets) -> tuple[int, int]:
    """Writes what is found in all pictures of some files.

    Args:
        run: of a model of whole pictures.
        files: as `picture_files` lists them; those that cannot be read are left out with a note.
        targets: where to write.

    Returns:
        How many pictures were read, and how many objects are in them.

    Raises:
        UserError: something cannot be written, or the model is damaged.
    """
    console = Console(stderr=True)
    shown = track(
        files, "pictures", console=console, transient=True, disable=not console.is_terminal
    )
    with open_writer(targets) as writer:
        for found in find_in(run, read_pictures(shown)):
            writer.write(found)
        return writer.pictures, writer.objects
