"""Pages of reports."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure

from benchmarks.core.page import embed, write_page

TEMPLATE = """{% extends "page.html.jinja" %}{% block main %}{{ text }}{{ picture }}{% endblock %}"""


def test_texts_are_escaped_and_pictures_are_not(tmp_path: Path) -> None:
    template = tmp_path / "some.html.jinja"
    template.write_text(TEMPLATE)
    picture = embed(Figure(), 'a "<caption>"')
    write_page(tmp_path / "page.html", template, title="<title>", text="<script>", picture=picture)
    page = (tmp_path / "page.html").read_text()
    assert "<h1>&lt;title&gt;</h1>" in page
    assert "&lt;script&gt;" in page
    assert '<figure><img alt="a &#34;&lt;caption&gt;&#34;" src="data:image/svg+xml;base64,' in page


def test_what_a_template_is_not_given_is_an_error_and_leaves_no_page(tmp_path: Path) -> None:
    template = tmp_path / "some.html.jinja"
    template.write_text(TEMPLATE)
    with pytest.raises(UndefinedError, match="'picture' is undefined"):
        write_page(tmp_path / "page.html", template, title="a page", text="a text")
    assert list(tmp_path.iterdir()) == [template]
