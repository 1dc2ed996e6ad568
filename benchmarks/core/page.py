"""Pages that need nothing else, not even a network: one file with style, scripts, charts' library and data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from seq_plugins._files import atomic_file

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Parameters
    ----------
    text
        What stands in it.
    value
        What it is sorted by; its text if ``None``.
    kind
        Its class in the style sheet.
    model
        Model whose colour and sign stand before the text.
    """

    text: str = ""
    value: float | None = None
    kind: str = ""
    model: str = ""


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by each column."""

    caption: str
    heads: list[str]
    rows: list[list[Cell]]


def make_table(caption: str, rows: Sequence[Mapping[str, Cell]]) -> Table:
    """Return a table without the columns in which nothing stands.

    Parameters
    ----------
    caption
        What stands below it.
    rows
        For each row its cells by the heads of the columns, all under the same heads.
    """
    heads = [head for head in rows[0] if any(row[head].text for row in rows)]
    return Table(caption, heads, [[row[head] for head in heads] for row in rows])


def write_page(path: Path, template: Path, scripts: Sequence[Path], data: Mapping[str, Any], **content: Any) -> None:
    """Write a page as one HTML file.

    Parameters
    ----------
    path
        Path of the file.
    template
        Path of the page's template, which extends ``page.html.jinja``.
    scripts
        Scripts of the page, run after ``page.js``, whose functions they use.
    data
        What the scripts show: ``data`` in them. JSON's types, without NaN.
    **content
        What the template shows, with its ``title``; texts are escaped.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, _HERE]), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template(template.name).render(
        content,
        style=_as_is(_HERE / "page.css"),
        library=_chart_library(),
        scripts=[_as_is(script) for script in (_HERE / "page.js", *scripts)],
        data=_embedded(data),
    )
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _as_is(path: Path) -> Markup:
    return Markup(path.read_text(encoding="utf-8"))  # noqa: S704  # a file of ours


@cache
def _chart_library() -> Markup:
    """Return Vega and Vega-Lite as a script that gives a page ``vegaEmbed``."""
    script = vl_convert.javascript_bundle(snippet="window.vegaEmbed = vegaEmbed;")
    inside = script.replace("</script", r"<\/script")
    return Markup(f"(() => {{{inside}}})();")  # noqa: S704  # its own text, whose short names are kept to itself


def _embedded(data: Mapping[str, Any]) -> Markup:
    """Return data as JSON that ends no element, whatever texts are in it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"))  # noqa: S704
