"""What trainings of the benchmarks do and keep beside what Darts has arguments for."""

from types import SimpleNamespace

import torch

from benchmarks.harness.callbacks import BufferedSampler, TrainingCurve


def test_a_buffered_order_holds_each_window_once_oldest_first_and_never_ahead_of_its_buffer() -> None:
    def draw(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return list(BufferedSampler(100, 10))

    order = draw(1)
    assert sorted(order) == list(range(100))
    ages = [99 - window for window in order]
    assert all(age < place + 10 for place, age in enumerate(ages))
    assert order == draw(1)
    assert order != draw(2)
    assert list(BufferedSampler(5, 1)) == [4, 3, 2, 1, 0]
    assert sorted(BufferedSampler(5, 100)) == [0, 1, 2, 3, 4]


def test_the_best_epoch_is_the_first_with_the_lowest_monitored_error_though_training_ends_without_a_number() -> None:
    curve = TrainingCurve(monitor="val_error")
    for epoch, error in enumerate([0.5, 0.25, 0.75, 0.25, float("nan")]):
        metrics = {"val_error": torch.tensor(error), "val_loss": torch.tensor(1.0 - epoch)}
        curve.on_train_epoch_end(SimpleNamespace(callback_metrics=metrics, current_epoch=epoch, max_epochs=9), None)
    assert curve.best_epoch == 2
    assert len(curve.validation_losses) == 5
