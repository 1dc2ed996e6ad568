"""The notebooks of docs/, run without Jupyter: ``python -m tests.notebooks`` stores what they print and draw."""

import ast
import base64
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.documents import ROOT

NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cells with code, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(notebook: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Run the cells with code in one namespace, and yield the outputs of each in the form that notebooks store."""
    import matplotlib.pyplot as plt

    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(notebook), start=1):
        tree = ast.parse("".join(cell["source"]), f"cell {number}")
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        value = None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, f"cell {number}", "exec"), names)  # noqa: S102 our own notebook
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)  # noqa: S307 likewise
        outputs: list[dict[str, Any]] = []
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            outputs.append({"name": "stdout", "output_type": "stream", "text": text})
        if value is not None:
            shown = {"text/plain": repr(value).splitlines(keepends=True)}
            outputs.append({"data": shown, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
        for figure in map(plt.figure, plt.get_fignums()):
            image = io.BytesIO()
            figure.savefig(image, dpi=72, metadata={"Software": None})
            picture = {"image/png": base64.b64encode(image.getvalue()).decode(), "text/plain": ["<Figure>"]}
            outputs.append({"data": picture, "metadata": {}, "output_type": "display_data"})
        plt.close("all")
        yield outputs


def texts(outputs: list[dict[str, Any]]) -> str:
    """Return what outputs say in words."""
    return "".join("".join(output.get("text", output.get("data", {}).get("text/plain", ""))) for output in outputs)


def _store(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for number, (cell, outputs) in enumerate(zip(code_cells(notebook), run(notebook), strict=True), start=1):
        cell |= {"execution_count": number, "outputs": outputs}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    import matplotlib as mpl

    mpl.use("agg")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for path in NOTEBOOKS:
            _store(path)
