"""The report of a run: the page, and every figure, drawn from plain arrays."""
