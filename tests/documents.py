"""What stands in README and the pages of docs/: code, commands and links."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "models").glob("*.md"))]

_BLOCK = re.compile(
    r"(?:<!-- (?P<remark>[^>]*) -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE
)
_INCLUDE = re.compile(
    r'^```{include} (?P<path>\S+)\n(?::start-after: "(?P<start>.*)"\n:end-before: "(?P<end>.*)"\n)?[^`]*```$',
    re.MULTILINE,
)
_LINK = re.compile(r"\]\((?!https?://)(?P<path>[^)#\s]*)(?:#[^)\s]*)?\)")


class Block(NamedTuple):
    """A block of code on a page. What a comment before it says:

    - ``needs PACKAGE``: it runs only where the package is installed
    - ``file PATH``: it is the content of a file
    """

    line: int  # of its first line, from 1
    language: str
    code: str
    remark: str

    @property
    def file(self) -> str | None:
        """Path of the file that it is the content of."""
        return self.remark.removeprefix("file ") if self.remark.startswith("file ") else None

    @property
    def missing(self) -> str | None:
        """What it needs and is not there."""
        needed = self.remark.removeprefix("needs ") if self.remark.startswith("needs ") else ""
        return None if not needed or find_spec(needed) is not None else needed


def blocks(page: Path, language: str) -> Iterator[Block]:
    """Return the blocks of a language, in order, with those of parts that are included from elsewhere."""
    text = _INCLUDE.sub(lambda match: _included(page, match), page.read_text(encoding="utf-8"))
    for match in _BLOCK.finditer(text):
        if match["language"] == language:
            line = text.count("\n", 0, match.start("code")) + 1
            yield Block(line, language, match["code"], match["remark"] or "")


def _included(page: Path, match: re.Match[str]) -> str:
    text = (page.parent / match["path"]).read_text(encoding="utf-8")
    if match["start"] is None:
        return text
    return text.split(match["start"], 1)[1].split(match["end"], 1)[0]


def links(page: Path) -> list[str]:
    """Return the paths of the links within the repository."""
    text = page.read_text(encoding="utf-8")
    without_code = _BLOCK.sub("", text)
    return [match["path"] for match in _LINK.finditer(without_code) if match["path"]]
