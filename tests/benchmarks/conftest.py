"""Fixtures of the benchmarks' tests."""

from collections.abc import Iterator

import pytest

from tests.benchmarks.harness.small_tasks import quick_settings
from tests.browser import PROGRAM, Browser, open_browser


@pytest.fixture
def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on users' tables for two epochs."""
    settings = quick_settings()
    monkeypatch.setattr("benchmarks.harness.table_task.shared_settings", lambda: settings)


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    if PROGRAM is None:
        pytest.skip("there is no Chromium on this machine")
    with open_browser() as opened:
        yield opened
