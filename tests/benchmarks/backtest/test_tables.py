"""What the tables of a backtest tell."""

from typing import Any

from benchmarks.backtest.tables import ModelSummary, choice_lines
from benchmarks.harness.rows import BacktestRow


def test_the_best_candidate_of_each_model_is_told_first() -> None:
    def summary(model: str, candidate: dict[str, Any], period: str, *errors: float) -> ModelSummary:
        rows = [BacktestRow("", model, seed, candidate, means={"mae": error}) for seed, error in enumerate(errors, 1)]
        return ModelSummary(period, rows)

    lines = choice_lines(
        [
            summary("TCNModel", {}, "spring", 3.0, 9.0, 4.0),
            summary("TCNModel", {"num_filters": 64}, "spring", 2.0, 2.0, 3.0),
            summary("TCNModel", {}, "summer", 6.0, 6.0, 6.0),
            summary("TCNModel", {"num_filters": 64}, "summer", 9.0, 9.0, 9.0),
            summary("TCNModel", {"kernel_size": 3}, "spring", 1.0, 1.0),
            summary("NaiveSeasonal", {}, "spring", 1.0),
        ]
    )
    assert lines[1:] == [
        "TCNModel: as fixed 5; num_filters=64 5.5; kernel_size=3 1 (not all seeds)",
        "NaiveSeasonal: as fixed 1",
    ]
