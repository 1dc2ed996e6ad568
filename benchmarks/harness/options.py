"""The options that commands of the harness share, and the engine that they choose."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.core.errors import UserError
from benchmarks.core.options import positive
from benchmarks.core.progress import Progress

if TYPE_CHECKING:
    from benchmarks.harness.engines import Engine


def add_run_options(command: argparse.ArgumentParser) -> None:
    """Add the options of how and where runs are made."""
    command.add_argument("--threads", type=positive, default=1, help="threads per run (default: 1)")
    where = command.add_argument_group("execution; results do not depend on it")
    where.add_argument("--jobs", type=positive, help="number of processes on this machine (default: 1)")
    where.add_argument("--engine", choices=["local", "ray"], default="local", help="(default: %(default)s)")
    where.add_argument("--address", help="a Ray cluster: HOST:PORT or auto (default: Ray is started on this machine)")


def check_run_options(options: argparse.Namespace) -> None:
    """Find out whether the options go together.

    Raises
    ------
    UserError
        If they do not.
    """
    if options.address and options.engine != "ray":
        raise UserError("--address: it is the address of a Ray cluster. Also give --engine ray, or leave it out.")
    if options.address and options.jobs:
        raise UserError("--jobs: the cluster at --address decides how many runs it takes. Leave --jobs out.")


@contextmanager
def open_engine(options: argparse.Namespace, progress: Progress) -> Iterator["Engine"]:
    """Start the engine that the options choose, and end it; `progress` shows what is being done in this process."""
    from benchmarks.harness.engines import in_processes, in_this_process

    if options.engine == "ray":
        from benchmarks.harness.ray_engine import on_ray

        with on_ray(options.address, options.jobs and options.jobs * options.threads) as engine:
            yield engine
    else:
        yield in_this_process(progress) if (options.jobs or 1) == 1 else in_processes(options.jobs)
