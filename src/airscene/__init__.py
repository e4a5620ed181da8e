"""Attend, Infer, Repeat: scenes counted, located and described, learned from images alone."""
