"""Fixtures of the backtests' tests."""

import pytest

from tests.benchmarks.harness.small_tasks import quick_settings


@pytest.fixture
def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on CSV files for two epochs."""
    settings = quick_settings()
    monkeypatch.setattr("benchmarks.harness.table_task.shared_settings", lambda: settings)
