"""The examples: each runs as it stands on its page, and prints what the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "index")
ON_A_CLUSTER = "tuning-with-ray-tune"
SLOW = {"forecasting-without-darts", "mlflow"}


def _blocks(page: str, language: str) -> str:
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    return "".join(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL))


@pytest.mark.filterwarnings(
    # PyTorch's exporter calls what it has deprecated itself, and names one dimension for several inputs
    "ignore:_check_is_size will be removed:FutureWarning",
    "ignore:# The axis name. batch will not be used",
)
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page for page in PAGES if page != ON_A_CLUSTER],
)
def test_an_example_prints_what_its_page_says(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(_blocks(page, "python"), f"{page}.md", "exec"), {"__name__": "__main__"})  # noqa: S102
    assert capsys.readouterr().out == _blocks(page, "text")


@pytest.mark.slow
def test_the_example_on_a_cluster_prints_what_its_page_says(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(_blocks(ON_A_CLUSTER, "python"), encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(_blocks(ON_A_CLUSTER, "text"))


def test_the_list_of_examples_names_every_page() -> None:
    linked = re.findall(r"\]\(([\w-]+)\.md\)", (FOLDER / "index.md").read_text(encoding="utf-8"))
    assert sorted(linked) == PAGES
