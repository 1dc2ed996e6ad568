"""Rivals in processes of their own: which Python has them, and how they are asked."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from shutil import which
from typing import Any

from benchmarks.core.errors import MissingRivalError, UserError
from benchmarks.core.new_process import python_command
from benchmarks.core.threads import thread_environment

RIVALS = ("darts", "keras", "neuralforecast")
"""Those that may be chosen, as they need not be installed; what comes with PyTorch is always there."""

RIVAL_PYTHON = "SEQ_PLUGINS_RIVAL_PYTHON"


class RivalProcess:
    """A rival in a process of its own, see ``rival_server.py``.

    Parameters
    ----------
    module
        Module that holds the rival's class.
    rival
        Name of the rival.
    python
        Python that has it.
    threads
        Number of threads that it may use.
    """

    def __init__(self, module: str, rival: str, python: str, threads: int) -> None:
        self._rival = rival
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        code = f"from benchmarks.core.rival_server import serve; serve({module!r}, {rival!r}, {threads})"
        self._process = subprocess.Popen(  # noqa: S603 - the user's own Python
            python_command(python, code),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=thread_environment(threads),
            text=True,
        )
        try:
            hello = self.ask("hello")
        except BaseException:
            self.close()
            raise
        self.description = {"rival_versions": hello["versions"], "note": hello["note"]}
        """The part of a row that says what runs here."""

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Let the rival call one of its methods, and return the answer."""
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise RuntimeError("Expected pipes to the rival's process.")
        try:
            requests.write(json.dumps({"do": do, **arguments}) + "\n")
            requests.flush()
            line = answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise RuntimeError(f"the process of {self._rival} has ended: {lines[-1]}")
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            raise MissingRivalError(_how_to_install(self._rival))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate()
        self._log.close()


class RivalProcesses:
    """The rivals' processes, each started when it is first needed.

    Parameters
    ----------
    module
        Module that holds the rivals' classes.
    pythons
        Pythons by rival; the running one stands in for those not named.
    threads
        Number of threads that each may use.
    """

    def __init__(self, module: str, pythons: Mapping[str, str], threads: int) -> None:
        self._module = module
        self._pythons = pythons
        self._threads = threads
        self._started: dict[str, RivalProcess] = {}

    def __enter__(self) -> "RivalProcesses":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._started.values():
            process.close()

    def __getitem__(self, rival: str) -> RivalProcess:
        if rival not in self._started:
            python = self._pythons.get(rival)
            if python is None:
                if find_spec(rival) is None:
                    raise MissingRivalError(_how_to_install(rival))
                python = sys.executable
            self._started[rival] = RivalProcess(self._module, rival, python, self._threads)
        return self._started[rival]

    def describe(self, rival: str) -> dict[str, Any]:
        """Return the part of a row that says what a rival's process runs."""
        return self._started[rival].description if rival in self._started else {}


def _how_to_install(rival: str) -> str:
    return (
        f"{rival} is not installed: pip install 'seq-plugins[rivals]', or name a Python that has it: "
        f"--rival-python {rival}=PATH."
    )


def find_rival_pythons(named: Sequence[str]) -> dict[str, str]:
    """Return the Python of each rival that is not to run on this one.

    Parameters
    ----------
    named
        ``RIVAL=PATH``, or a path for all rivals. Without any, those in the environment variable
        ``SEQ_PLUGINS_RIVAL_PYTHON`` stand in for the rivals that the running Python does not have.

    Raises
    ------
    UserError
        If there is no such rival or no such Python.
    """
    in_processes = [rival for rival in RIVALS if rival != "darts"]
    source = "--rival-python" if named else RIVAL_PYTHON
    pythons: dict[str, str] = {}
    for entry in named or shlex.split(os.environ.get(RIVAL_PYTHON, "")):
        rival, path = entry.split("=", 1) if "=" in entry else ("", entry)
        if rival and rival not in in_processes:
            raise UserError(
                f"{source}: no rival {rival!r} runs on a Python of its own, only {', '.join(in_processes)}."
            )
        if which(path) is None:
            raise UserError(f"{source}: {path} is not a program. Name a Python, such as .venv/bin/python.")
        for each in [rival] if rival else in_processes:
            pythons.setdefault(each, path)
    if named:
        return pythons
    return {rival: path for rival, path in pythons.items() if find_spec(rival) is None}
