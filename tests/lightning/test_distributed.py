"""Data-parallel training: two processes share what one would see."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MODEL_NAMES

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, os, sys
from pathlib import Path
import numpy as np
from darts import TimeSeries
from pytorch_lightning.callbacks import Callback
import seq_plugins

class Windows(Callback):
    seen = []
    val_losses = []
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        # the first value of a window names it
        self.seen.append([trainer.current_epoch, batch.past_target[:, 0, 0].round().int().tolist()])
    def on_train_epoch_end(self, trainer, pl_module):
        self.val_losses.append(float(trainer.callback_metrics["val_loss"]))

if __name__ == "__main__":
    name, n_processes, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    windows = Windows()
    strategy = "ddp" if n_processes > 1 else "auto"
    model = getattr(seq_plugins, name)(
        8, 3, batch_size=4, n_epochs=2, random_state=1,
        pl_trainer_kwargs={"accelerator": "cpu", "devices": n_processes, "strategy": strategy, "callbacks": [windows],
                           "enable_progress_bar": False, "enable_model_summary": False},
    )
    series = TimeSeries.from_values(np.arange(49, dtype=np.float32))
    model.fit(series, val_series=TimeSeries.from_values(np.arange(30, dtype=np.float32)))
    rank = model.trainer.global_rank
    weights = [float(weight.detach().double().sum()) for weight in model.model.parameters()]
    result = {"seen": windows.seen, "weights": weights, "val_losses": windows.val_losses}
    (folder / f"rank-{rank}.json").write_text(json.dumps(result))
"""


def _train(name: str, n_processes: int, folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    script = folder / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), name, str(n_processes), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(n_processes)]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_two_processes_draw_the_windows_of_one_and_at_most_one_repeat(name: str, tmp_path: Path) -> None:
    (alone,) = _train(name, 1, tmp_path / "one")
    together = _train(name, 2, tmp_path / "two")
    n_windows = 49 - 8 - 3 + 1
    for epoch in range(2):
        of_one = Counter(window for seen, windows in alone["seen"] if seen == epoch for window in windows)
        of_two = Counter(
            window for rank in together for seen, windows in rank["seen"] if seen == epoch for window in windows
        )
        assert sorted(of_one) == list(range(n_windows))
        assert set(of_one.values()) == {1}
        assert of_two.keys() == of_one.keys()
        assert sum(of_two.values()) - n_windows <= 1
    assert together[0]["weights"] == pytest.approx(together[1]["weights"], rel=1e-6)
    assert together[0]["val_losses"] == pytest.approx(together[1]["val_losses"], rel=1e-6)
