"""Models in servers: the page about it with a real one, and processes that are forked after a model was loaded."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.documents import ROOT, blocks

PAGE = ROOT / "docs" / "serve.md"
PATIENCE = 120  # seconds, on a busy machine


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}


def _post(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
        return json.loads(answer.read())


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)  # noqa: S310
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(url)


@pytest.mark.slow
def test_the_server_of_the_page_answers(tmp_path: Path) -> None:
    for package in ("fastapi", "uvicorn", "gensim"):
        pytest.importorskip(package)
    training, app = blocks(PAGE, "python")
    (tmp_path / "app.py").write_text(app.code, encoding="utf-8")
    environment = _environment(tmp_path)
    subprocess.run([sys.executable, "-c", training.code], cwd=tmp_path, env=environment, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as server:
        try:
            _wait_for(f"{address}/docs", server)
            query = urllib.parse.urlencode({"first_day": "2026-01-01"})
            forecast = _post(f"{address}/forecast?{query}", [float(day % 7) for day in range(28)])
            assert list(forecast) == [f"2026-01-{day}" for day in range(29, 32)] + [
                f"2026-02-0{day}" for day in range(1, 5)
            ]
            good, bad = _post(f"{address}/sentiment", ["a fine driver", "an awful delay"])
            assert good > bad
        finally:
            server.terminate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_models_compute_in_a_process_that_was_forked_after_they_had_used_threads(tmp_path: Path) -> None:
    script = """
import os, signal, time
import numpy as np, torch
from darts import TimeSeries
from seq_plugins import LinearModel
from tests.text.samples import make_classifier, make_texts

torch.set_num_threads(4)
texts, labels = make_texts(1000)
classifier = make_classifier(n_epochs=1, num_filters=250, hidden_dim=250).fit(texts, labels)
series = [TimeSeries.from_values(np.random.default_rng(0).standard_normal((100, 8)).astype("float32"))] * 600
model = LinearModel(56, 14, n_epochs=1, random_state=1, pl_trainer_kwargs={"enable_progress_bar": False})
model.fit(series[:5])
tasks = {
    "classifier": lambda: classifier.decision_function(texts),
    "classifier's fit": lambda: classifier.fit(texts, labels).decision_function(texts),
    "forecaster": lambda: model.predict(14, series=series, verbose=False)[3].values(),
}
for name, task in tasks.items():
    expected = task()
    child = os.fork()
    if not child:
        same = np.allclose(task(), expected, atol=1e-4)
        os._exit(0 if same and torch.get_num_threads() == 1 else 1)
    end = time.monotonic() + 60
    while (found := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.05)
    if found == (0, 0):
        os.kill(child, signal.SIGKILL)
    print(name, "hangs" if found == (0, 0) else "ends with " + str(found[1]))
assert torch.get_num_threads() == 4
"""
    pytest.importorskip("gensim")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stdout.splitlines() if "hangs" in line or "ends" in line]
    assert told == [f"{name} ends with 0" for name in ("classifier", "classifier's fit", "forecaster")], done.stderr
