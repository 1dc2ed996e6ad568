"""The engine that makes runs on a Ray cluster: Ray places them, tries them again, and moves the data once per node."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.core.errors import UserError
from benchmarks.core.processes import MAX_ATTEMPTS
from benchmarks.harness.engines import Engine, Plans, make_run_of
from benchmarks.harness.forecasts import Failure, RunResult
from benchmarks.harness.plan import Run

CONNECT_SECONDS = 5.0
"""Seconds after which a cluster that does not answer is given up."""


@contextmanager
def on_ray(address: str | None, n_processors: int | None) -> Iterator[Engine]:
    """Give the engine that makes runs on a Ray cluster, connected for as long as it is needed.

    Parameters
    ----------
    address
        Address of the cluster, such as ``"10.0.0.5:6379"`` or ``"auto"`` for one that this machine belongs to. By
        default, Ray is started on this machine.
    n_processors
        Number of processors for Ray where it is started here; all by default.

    Raises
    ------
    UserError
        If Ray is not installed or the cluster does not answer.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of a change to come
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is in the rows and errors
    try:
        import ray
    except ImportError as error:
        raise UserError("--engine ray: Ray is not installed. Install it: pip install 'seq-plugins[ray]'.") from error
    # this package goes along, so that nodes need only what it depends on
    packages = Path(__file__).parents[1], Path(__file__).parents[2] / "seq_plugins"
    arguments: dict[str, Any] = {
        "runtime_env": {"py_modules": [str(package) for package in packages]},
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    if address is None:
        arguments |= {"num_cpus": n_processors, "include_dashboard": False, "address": "local"}
    else:
        _check_answers(address)
        arguments["address"] = address
    try:
        ray.init(**arguments)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"--address: no Ray cluster at {address or 'this machine'}: {reason}") from error
    try:
        yield _make_runs
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Find out in seconds what Ray finds out in minutes."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if not host or not port.isdigit():
            raise UserError(f"--address: expected HOST:PORT, ray://HOST:PORT or auto, got {address!r}.")
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        if not address.startswith("ray://"):
            _check_is_ray(f"{host}:{port}")
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"--address: no Ray cluster answers at {address}: {reason}. Start one with `ray start --head`, or leave "
            "--address out to run on this machine."
        ) from error


_ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"  # as `ray health-check` does


def _check_is_ray(address: str) -> None:
    """Ask in a process of its own, which can be ended when no answer comes."""
    command = [sys.executable, "-c", _ASK, address]
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=2 * CONNECT_SECONDS)  # noqa: S603
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise OSError("something else is there") from error


def _make_runs(plans: Plans, runs: Sequence[Run]) -> Iterator[tuple[Run, RunResult | Failure]]:
    import ray

    remote_plans = ray.put(plans)  # each node fetches them once
    threads = max(plan.threads for plan in plans.values())
    make = ray.remote(num_cpus=threads, max_retries=MAX_ATTEMPTS - 1)(make_run_of)
    limit = max(64, 4 * int(ray.cluster_resources().get("CPU", 1)))  # enough that no processor waits for the next
    waiting, in_flight = iter(runs), dict[Any, Run]()
    while True:
        while len(in_flight) < limit and (run := next(waiting, None)) is not None:
            in_flight[make.remote(remote_plans, run)] = run
        if not in_flight:
            return
        finished, _ = ray.wait(list(in_flight), num_returns=1)
        run = in_flight.pop(finished[0])
        try:
            yield run, ray.get(finished[0])
        except ray.exceptions.RayTaskError as error:  # raised by the run itself: not its model's
            raise error.as_instanceof_cause() from None
        except ray.exceptions.RayError as error:
            reason = (str(error).splitlines() or [""])[0]
            yield run, Failure(run.key, f"{type(error).__name__}: {reason}")
