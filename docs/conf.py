"""How Sphinx builds these pages: `make docs`. Nothing is fetched from the network."""

import re

from airscene import AIR  # noqa: F401  (fails here, and not on every page, when not installed)

project = "airscene"
author = "the airscene authors"
copyright = "2026, the airscene authors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "airscene"

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

suppress_warnings = ["ref.python"]  # names of axes in types of arrays are no references
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = False  # types with a star in them are no reStructuredText


def escape_stars(app, what, name, obj, options, lines):
    """Keeps the star of a shape like (*, N) from opening an emphasis."""
    for i, line in enumerate(lines):
        pieces = re.split(r"(`[^`]*`)", line)
        lines[i] = "".join(p if p.startswith("`") else p.replace("*", r"\*") for p in pieces)


def setup(app):
    app.connect("autodoc-process-docstring", escape_stars, priority=400)
