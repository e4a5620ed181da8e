"""Published data sets: files in a folder that the user names, or downloaded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch

from airscene.errors import UserError


@dataclass(frozen=True)
class Published:
    """A data set whose files others have published.

    Attributes:
        files: all of them, as messages name them, such as "the four MNIST files".
        folder: their folder in the user's cache.
        mirrors: addresses in front of a file's name, the first to be asked first.
        hashes: the MD5 of each file that can be downloaded, by its name.
        subfolders: of a named folder, in which files may lie.
        forms: the names that a file may have in a named folder, by its name.
    """

    files: str
    folder: str
    mirrors: tuple[str, ...]
    hashes: Mapping[str, str]
    subfolders: tuple[str, ...]
    forms: Callable[[str], tuple[str, ...]] = lambda name: (name,)

    def locate(self, name: str, data_dir: Path | None) -> Path:
        """Where a file lies, which is downloaded if need be.

        The file comes from `data_dir`, else from the folder in the environment variable
        `AIRSCENE_DATA_DIR`, else it is downloaded into the user's cache.

        Args:
            name: of the file, one of `hashes`.
            data_dir: the folder that holds it, or None.

        Raises:
            UserError: it is missing, or no mirror answers.
        """
        named = os.environ.get("AIRSCENE_DATA_DIR")
        if data_dir is not None:
            return self._find(name, data_dir, "--data-dir")
        if named:
            return self._find(name, Path(named).expanduser(), "AIRSCENE_DATA_DIR")
        return self._download(name)

    def _find(self, name: str, folder: Path, named_by: str) -> Path:
        for subfolder in self.subfolders:
            for form in self.forms(name):
                path = folder / subfolder / form
                if path.is_file():
                    return path
        under = " or ".join(f"{subfolder}/" for subfolder in self.subfolders if subfolder)
        raise UserError(
            f"no {' or '.join(self.forms(name))} in {folder} (nor in {under} under it), the folder "
            f"named by {named_by}; put {self.files} there, or leave it out to download them"
        )

    def _download(self, name: str) -> Path:
        """Fetches a file from the first mirror that has it whole."""
        failures = []
        for mirror in self.mirrors:
            try:
                return Path(self._retrieve(mirror, name))
            except (OSError, ValueError) as error:  # no network, no such file; another hash
                failures.append(f"{mirror}: {_reason(error)}")
        raise UserError(
            f"{name} could not be downloaded ({'; '.join(failures)}); connect to the network, or"
            f" name a folder with {self.files} by --data-dir or AIRSCENE_DATA_DIR"
        )

    def _retrieve(self, mirror: str, name: str) -> str:
        return pooch.retrieve(
            f"{mirror}{name}",
            known_hash=f"md5:{self.hashes[name]}",
            fname=name,
            path=pooch.os_cache("airscene") / self.folder,
        )


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):  # the text of a failed request runs over many lines
        return error.strerror or type(error).__name__
    return "another file than the official one"
