"""Code of this checkout in a new process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.core.threads import thread_environment

_ROOT = Path(__file__).parents[2]


def python_command(python: str, code: str) -> list[str]:
    """Return the command that runs code with a Python, from this checkout."""
    return [python, "-P", "-W", "ignore", "-c", f"import sys; sys.path.insert(0, {str(_ROOT)!r}); {code}"]


def run_in_new_process(code: str, threads: int) -> Any:
    """Run code and return the JSON that it prints last."""
    run = subprocess.run(  # noqa: S603 - our own code
        python_command(sys.executable, code),
        env=thread_environment(threads),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError((run.stderr.strip().splitlines() or ["the process said nothing"])[-1])
    return json.loads(run.stdout.strip().splitlines()[-1])
