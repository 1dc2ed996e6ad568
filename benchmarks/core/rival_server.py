"""A rival in a process of its own, told by lines of JSON what to do.

That runs on the rival's own Python, which need not have any package that this project needs. A module holds
``RIVALS``: from a rival's name to its class. That is called with the number of threads at the first request, names its
`packages` and, as `note`, what differs from the work of others, and has a method for each request that returns the
answer, if there is any. A request is ``{"do": METHOD, ...}`` with the method's arguments; the answer also says by how
many megabytes the process grew at most. ``{"do": "hello"}`` is answered with ``{"versions": {...}, "note": "..."}``;
where something goes wrong, the answer is ``{"error": "..."}`` or, for a package that is not there,
``{"missing": "..."}``.
"""

import json
import os
import sys
from importlib import import_module
from typing import Any

from benchmarks.core.errors import error_line
from benchmarks.core.memory import PeakMemory
from benchmarks.core.versions import versions

KERAS_PACKAGES = ("keras", "tensorflow-cpu", "tensorflow")


def serve(module: str, rival: str, threads: int) -> None:
    """Answer the requests on the standard input until there are no more."""
    # what a rival prints must not end up among the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    start = import_module(module).RIVALS[rival]
    started: Any = None
    for line in sys.stdin:
        try:
            started = started or start(threads)
            answer = _answer(started, **json.loads(line))
        except ModuleNotFoundError as error:
            answer = {"missing": error.name or str(error)}
        except Exception as error:  # whatever goes wrong in a rival becomes its row
            answer = {"error": error_line(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(rival: Any, do: str, **arguments: Any) -> dict[str, Any]:
    if do == "hello":
        return {"versions": versions(rival.packages), "note": rival.note}
    with PeakMemory() as peak:
        answer = getattr(rival, do)(**arguments) or {}
    return {**answer, "peak_mb": peak.megabytes}


def import_keras(threads: int) -> Any:
    """Return Keras, on TensorFlow with this number of threads."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    tensorflow: Any = import_module("tensorflow")
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return import_module("keras")
