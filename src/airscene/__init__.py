"""Attend, Infer, Repeat: scenes counted, located and described, learned from images alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airscene.models.air import AIR
    from airscene.models.air_config import AIRConfig
    from airscene.runs import load_run

__all__ = ["AIR", "AIRConfig", "load_run"]

HOMES = {
    "AIR": "airscene.models.air",
    "AIRConfig": "airscene.models.air",
    "load_run": "airscene.runs",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for, so that importing a part does not import all of the package."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(HOMES[name]), name)
