"""Settings of Sphinx, which ``make docs`` builds the pages with."""

import inspect
import re
from importlib import metadata
from typing import Any

project = "seq_plugins"
release = metadata.version("seq-plugins")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"seq_plugins {release}"
html_show_copyright = False
html_show_sphinx = False
html_show_sourcelink = False

myst_heading_anchors = 4

default_role = "code"
smartquotes = False  # errors are quoted as they are raised
autodoc_typehints = "none"  # docstrings say what and which shape
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_attr_annotations = False  # Darts' annotations of attributes are not those of our arguments

nitpick_ignore_regex = [
    ("py:.*", r"(darts|torch|pytorch_lightning|sklearn|pandas|numpy|gensim)\..*"),  # documented by others
    ("py:exc", r"pickle\..*"),  # Python's own, whose pages need a network
    ("py:meth", "fit"),  # Darts' own
    ("py:class", r"TimeSeries|Sequence|np\.ndarray|seq_plugins\.text\.network\..*"),
    ("py:mod", r"seq_plugins\.layers\.recurrent_kernels"),
]


def name_footnotes(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Give the footnotes of each docstring names of their own, so that several docstrings fit on a page."""
    label = name.replace(".", "-").lower()
    lines[:] = [re.sub(r"\[(\d)\](?=_| )", rf"[#{label}-\1]", line) for line in lines]


def show_constructor(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Show the arguments of a model's constructor; those of its metaclass, which Sphinx finds, say nothing."""
    if what != "class" or type(obj).__module__.split(".")[0] != "darts":
        return None
    given = inspect.signature(obj.__init__)
    parameters = [parameter for parameter in given.parameters.values() if parameter.name != "self"]
    shown = str(given.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return shown.replace("collections.abc.", ""), ""


def setup(app: Any) -> None:
    """Connect what is done here to Sphinx."""
    app.connect("autodoc-process-signature", show_constructor)
    app.connect("autodoc-process-docstring", name_footnotes)
