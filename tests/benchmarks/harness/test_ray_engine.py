"""Runs on a real Ray cluster of two nodes, started here."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.core.progress import Progress
from benchmarks.harness.engines import in_this_process
from benchmarks.harness.ray_engine import on_ray
from tests.benchmarks.harness.small_tasks import COLUMNS, write_csv
from tests.benchmarks.harness.test_engines import make_plan, without_seconds

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}, connect=False
    )  # fmt: skip
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


# Ray leaves sockets and subprocesses to the garbage collector at its shutdown
_leaves_open = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.slow
@_leaves_open
def test_two_nodes_give_the_same_numbers_as_this_process_though_a_worker_is_killed(
    tmp_path: Path, cluster: Any
) -> None:
    plan, runs = make_plan(tmp_path)
    here = [made for _, made in in_this_process(Progress("run"))({plan.task.name: plan}, runs)]
    there = []
    with on_ray(cluster.address, None) as engine:
        import ray

        assert len([node for node in ray.nodes() if node["Alive"]]) == 2
        results = engine({plan.task.name: plan}, runs)
        there.append(next(results)[1])
        killed = _kill_worker_at_work()
        there += [made for _, made in results]
    assert killed
    assert without_seconds(here) == without_seconds(there)


def _kill_worker_at_work() -> bool:
    """Kill a worker of Ray's while it makes a run; return whether there was one."""
    for _ in range(100):
        listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout  # noqa: S607
        for line in listed.splitlines():
            number, _, name = line.strip().partition(" ")
            if "ray::make_run" in name:
                os.kill(int(number), signal.SIGKILL)
                return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@_leaves_open
@pytest.mark.usefixtures("few_epochs")
def test_the_command_writes_the_same_rows_from_a_cluster(tmp_path: Path, cluster: Any) -> None:
    write_csv(tmp_path / "sales.csv")
    models = ["NaiveSeasonal", "Seq2SeqRNNModel-GRU"]
    arguments = ["backtest", "--dataset", "sales.csv", *COLUMNS, "--models", *models, "--seeds", "2", "--output"]
    assert main([*arguments, "here"]) == 0
    assert main([*arguments, "there", "--engine", "ray", "--address", cluster.address]) == 0

    def rows(folder: str) -> dict[Any, Any]:
        found = [json.loads(line) for line in (tmp_path / folder / "rows.jsonl").read_text().splitlines()]
        for row in found:
            for name in ("fit_seconds", "predict_seconds", "evaluations"):
                del row[name]
        return {(row["model"], row["seed"]): row for row in found}

    assert rows("here") == rows("there")
    assert len(rows("here")) == 4


@pytest.fixture
def closed_port() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def web_server() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        while server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
        server.kill()


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("closed_port", "no Ray cluster answers at 127.0.0.1"),
        ("web_server", "something else is there"),
        ("nowhere", "expected HOST:PORT, ray://HOST:PORT or auto, got 'nowhere'"),
    ],
)
def test_an_address_without_a_cluster_is_told_at_once_and_nothing_is_written(
    tmp_path: Path,
    where: str,
    told: str,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.harness.ray_engine.CONNECT_SECONDS", 1.0)
    write_csv(tmp_path / "sales.csv")
    address = request.getfixturevalue(where) if where != "nowhere" else where
    assert main(["backtest", "--dataset", "sales.csv", *COLUMNS, "--engine", "ray", "--address", address]) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: --address: ")
    assert told in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["sales.csv"]
