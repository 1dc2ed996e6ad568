"""Pages that need nothing else, neither a network nor scripts: one file with style sheet and pictures in it."""

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from seq_plugins._files import atomic_file

PICTURE_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "seq_plugins",
    "font.size": 10,
    "font.family": "sans-serif",
}
"""What pictures are drawn and embedded with: ``matplotlib.rc_context``."""

_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "svg": ("image/svg+xml", {"metadata": {"Date": None}}),
    "png": ("image/png", {"dpi": 110}),
}


def write_page(path: Path, template: Path, **content: Any) -> None:
    """Write a page as one HTML file.

    Parameters
    ----------
    path
        Path of the file.
    template
        Path of the page's template, which extends ``page.html.jinja``.
    **content
        What the template shows, with its ``title``; texts are escaped.
    """
    folders = [template.parent, Path(__file__).parent]
    environment = Environment(
        loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template(template.name).render(content)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def embed(figure: Figure, caption: str, alternative: str | None = None, kind: str = "svg") -> Markup:
    """Return a picture as an element of a page.

    Parameters
    ----------
    figure
        The picture.
    caption
        What stands below it.
    alternative
        What is told instead of it; the caption where there is nothing else to say.
    kind
        ``"svg"`` or ``"png"``.
    """
    mime_type, arguments = _KINDS[kind]
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **arguments)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    element = Markup('<figure><img alt="{}" src="data:{};base64,{}"><figcaption>{}</figcaption></figure>')
    return element.format(alternative or caption, mime_type, data, caption)
