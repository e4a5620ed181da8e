"""Attend, Infer, Repeat: scenes counted, located and described, learned from images alone."""

from airscene.models.air import AIR, AIRConfig
from airscene.runs import load_run

__all__ = ["AIR", "AIRConfig", "load_run"]
