"""config.json: the configuration of a run on disk."""

import dataclasses
import json
import typing
from pathlib import Path
from types import UnionType
from typing import Any, Literal

from airscene.config import Config
from airscene.errors import UserError
from airscene.files import read_text, write_text
from airscene.kinds import KINDS, kind_of
from airscene.models.base import ModelConfig


def save_config(config: Config, path: Path) -> Path:
    """Writes the resolved configuration as JSON."""
    return write_text(path, json.dumps(plain(config), indent=2) + "\n")


def plain(config: Config) -> dict[str, Any]:
    """The configuration as nested plain values; `kind` of the model names its row in `KINDS`."""
    values = dataclasses.asdict(config)
    return values | {"model": {"kind": kind_of(config.model).name, **values["model"]}}


def load_config(path: Path) -> Config:
    """Reads a configuration that `save_config` wrote.

    Raises:
        UserError: the file is missing, is not JSON, or has a field that is unknown or out of range.
    """
    try:
        values = json.loads(read_text(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; name the folder of a run") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as JSON ({reason}); restore it") from error
    try:
        return _build(Config, _upgraded(values))
    except (TypeError, KeyError) as error:
        raise UserError(f"{path} is no configuration of this version: {error}") from error


def _build(kind: Any, value: Any, name: str = "") -> Any:
    """The value as the annotated type: JSON knows neither dataclasses nor tuples."""
    if kind is ModelConfig and isinstance(value, dict):
        kind, value = _model_class(value), {k: v for k, v in value.items() if k != "kind"}
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints, prefix = typing.get_type_hints(kind), name and f"{name}."
        for unknown in value.keys() - hints.keys():
            raise TypeError(f"{prefix}{unknown} is unknown")
        return kind(**{k: _build(hints[k], part, prefix + k) for k, part in value.items()})  # type: ignore[operator]
    value = _tuple(value)
    if not _fits(kind, value):
        raise TypeError(f"{name or 'the whole'} is {value!r}")
    return value


def _model_class(model: dict[str, Any]) -> type[ModelConfig]:
    """The class of a model's configuration, by the name of its kind."""
    name = model.get("kind")
    if name not in [*KINDS]:
        raise TypeError(f"model.kind is {name!r}; the kinds are {', '.join(KINDS)}")
    return KINDS[name].config


def _upgraded(values: Any) -> Any:
    """Values of the release before, whose models were AIR, DAIR and DRAW and named no kind."""
    model = values.get("model") if isinstance(values, dict) else None
    if not isinstance(model, dict) or "kind" in model:
        return values
    return values | {"model": {"kind": "draw" if "read" in model else "air", **model}}


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value without lists is of the annotated type."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return value in parts
    if origin in (UnionType, typing.Union):
        return any(_fits(part, value) for part in parts)
    if origin is tuple and parts[-1] is Ellipsis:
        return isinstance(value, tuple) and all(_fits(parts[0], part) for part in value)
    if origin is tuple:
        return (
            isinstance(value, tuple) and len(value) == len(parts) and all(map(_fits, parts, value))
        )
    return type(value) is kind or (kind is float and type(value) is int)


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
