"""Pages of reports."""

import json
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from benchmarks.core.page import Cell, make_table, write_page

TEMPLATE = """{% extends "page.html.jinja" %}{% from "parts.html.jinja" import table_of %}
{% block main %}{{ text }}{{ table_of(table) }}{% endblock %}"""
TABLE = make_table("", [{"name": Cell("<b>"), "value": Cell("1.5", 1.5), "nothing": Cell()}])


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A template that shows a text and a table."""
    path = tmp_path / "some.html.jinja"
    path.write_text(TEMPLATE)
    return path


def test_texts_are_escaped_and_no_datum_ends_its_element(template: Path, tmp_path: Path) -> None:
    hostile = "</script><script>alert('&')</script>"
    path = tmp_path / "page.html"
    write_page(path, template, scripts=[], data={"name": hostile}, title="<title>", text=hostile, table=TABLE)
    page = path.read_text()
    assert "<h1>&lt;title&gt;</h1>" in page
    assert "<td>&lt;b&gt;</td>" in page
    assert "alert('" not in page.replace(r"alert('\u0026')", "")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    assert json.loads(found[1]) == {"name": hostile}
    assert page.count("<script") == page.count("</script>") == 3  # data, the charts' library, page.js
    assert "default-src 'none'" in page


def test_a_column_in_which_nothing_stands_is_left_out() -> None:
    assert TABLE.heads == ["name", "value"]
    assert [len(row) for row in TABLE.rows] == [2]


def test_what_a_template_is_not_given_is_an_error_and_leaves_no_page(template: Path, tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="'text' is undefined"):
        write_page(tmp_path / "page.html", template, scripts=[], data={}, title="a page", table=TABLE)
    assert list(tmp_path.iterdir()) == [template]
