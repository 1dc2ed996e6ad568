"""Speed beside a peer's: turns taken in alternation on the same work, medians, rows and their table."""

import gc
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, TextIO

from benchmarks.core.errors import UserError
from benchmarks.core.versions import versions
from benchmarks.speed.peers import FitWork
from seq_plugins._files import atomic_file

PEERS = ("darts", "keras", "neuralforecast")
PEER_PYTHON = "SEQ_PLUGINS_PEER_PYTHON"
PEER_SERVER = Path(__file__).with_name("peer_server.py")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)

Turn = Callable[[], float]
"""Does the work once and returns what was measured: seconds, or megabytes."""


class MissingPeerError(Exception):
    """A peer that is not installed."""


@dataclass(frozen=True)
class Goal:
    """What is to be reached.

    Parameters
    ----------
    text
        The goal in words.
    is_met
        Tells from our median and the peer's whether it is reached.
    """

    text: str
    is_met: Callable[[float, float], bool]


def times_faster(factor: float) -> Goal:
    """Return the goal to need no more than the peer's time divided by `factor`."""
    return Goal(f"{factor:g} times", lambda ours, peers: peers >= factor * ours)


@dataclass(frozen=True)
class Rival:
    """Whom a case is measured against.

    Parameters
    ----------
    peer
        Name in the rows; one of ``PEERS``, or what is always there, such as PyTorch.
    prepare
        Does what is not measured, and returns the turn.
    goal
        What is to be reached, if anything.
    """

    peer: str
    prepare: "Callable[[Workers], Turn]"
    goal: Goal | None = None


@dataclass(frozen=True)
class Case:
    """One kind of work, done by us and by rivals.

    Parameters
    ----------
    name
        Name in the rows and on the command line.
    text
        The work in words.
    prepare
        Does what is not measured, and returns our turn.
    rivals
        Whom we are measured against.
    settings
        Sizes of the work, for the rows.
    unit
        ``"s"`` or ``"MB"``.
    """

    name: str
    text: str
    prepare: Callable[[], Turn]
    rivals: Sequence[Rival]
    settings: Mapping[str, Any] = field(default_factory=dict)
    unit: str = "s"

    def against(self, peers: Sequence[str]) -> list[Rival]:
        """Return the rivals among `peers`, and those that are always there."""
        return [rival for rival in self.rivals if rival.peer in peers or rival.peer not in PEERS]


@dataclass(frozen=True)
class Row:
    """One case against one peer.

    Parameters
    ----------
    case
        Name of the case.
    text
        The work in words.
    ours_s
        Our median, in seconds; ``None`` where something else than time is measured.
    peer
        Name of the peer.
    peer_s
        The peer's median, in seconds.
    ours_mb
        Our median, in megabytes, where memory is measured.
    peer_mb
        The peer's median, in megabytes.
    ratio
        How many times as much the peer needs.
    goal
        The goal in words.
    met
        Whether it is reached; ``None`` without a goal or a result.
    spread
        Smallest and largest turn of ours and of the peer.
    turns
        Number of turns of each, the warm-up not counted.
    threads
        Number of threads of each.
    settings
        Sizes of the work.
    versions
        Versions of Python and of the packages that matter.
    peer_versions
        The same for a peer in a process of its own.
    note
        What differs between the two.
    error
        What went wrong, or what is not installed.
    missing
        Whether the peer is not installed.
    """

    case: str
    text: str
    peer: str
    threads: int
    ours_s: float | None = None
    peer_s: float | None = None
    ours_mb: float | None = None
    peer_mb: float | None = None
    ratio: float | None = None
    goal: str | None = None
    met: bool | None = None
    spread: dict[str, list[float]] = field(default_factory=dict)
    turns: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    peer_versions: dict[str, str] = field(default_factory=dict)
    note: str = ""
    error: str | None = None
    missing: bool = False


class Worker:
    """A peer in a process of its own, running a script that needs nothing but the peer.

    Parameters
    ----------
    peer
        Name of the peer.
    python
        Python that has it.
    threads
        Number of threads that it may use.
    """

    FILE = Path(__file__).parents[1] / "speed" / "peers.py"

    def __init__(self, peer: str, python: str, threads: int) -> None:
        self.peer = peer
        self.note = ""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(  # noqa: S603 - the user's own Python
            [python, "-P", str(PEER_SERVER), str(self.FILE), peer, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=thread_environment(threads),
            text=True,
        )
        try:
            self.versions: dict[str, str] = self._ask({"do": "hello"})["versions"]
        except BaseException:
            self.close()
            raise

    def prepare(self, work: FitWork) -> Turn:
        """Prepare a fit and return its turn."""
        self.note = self._ask({"do": "prepare", "work": asdict(work)})["note"]
        return lambda: float(self._ask({"do": "run"})["seconds"])

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate()
        self._log.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise RuntimeError("Expected pipes to the peer's process.")
        try:
            requests.write(json.dumps(request) + "\n")
            requests.flush()
            line = answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise RuntimeError(f"the process of {self.peer} has ended: {lines[-1]}")
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            raise MissingPeerError(how_to_install(self.peer))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


class Workers:
    """The peers' processes, each started when it is first needed.

    Parameters
    ----------
    pythons
        Pythons by peer; the running one stands in for those not named.
    threads
        Number of threads that each may use.
    kind
        What runs in each process.
    """

    def __init__(self, pythons: Mapping[str, str], threads: int, kind: type[Worker] = Worker) -> None:
        self._kind = kind
        self._pythons = pythons
        self._threads = threads
        self._started: dict[str, Worker] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._started.values():
            worker.close()

    def __getitem__(self, peer: str) -> Worker:
        if peer not in self._started:
            python = self._pythons.get(peer)
            if python is None:
                if find_spec(peer) is None:
                    raise MissingPeerError(how_to_install(peer))
                python = sys.executable
            self._started[peer] = self._kind(peer, python, self._threads)
        return self._started[peer]

    def describe(self, peer: str) -> dict[str, Any]:
        """Return the part of a row that says what a peer's process runs."""
        worker = self._started.get(peer)
        return {} if worker is None else {"peer_versions": worker.versions, "note": worker.note}


def how_to_install(peer: str) -> str:
    """Return a line that says how to get a peer."""
    return (
        f"{peer} is not installed: pip install 'seq-plugins[peers]', or name a Python that has it: "
        f"--peer-python {peer}=PATH."
    )


def find_peer_pythons(named: Sequence[str]) -> dict[str, str]:
    """Return the Python of each peer that is not to run on this one.

    Parameters
    ----------
    named
        ``PEER=PATH``, or a path for all peers. Without any, those in the environment variable
        ``SEQ_PLUGINS_PEER_PYTHON`` stand in for the peers that the running Python does not have.

    Raises
    ------
    UserError
        If there is no such peer or no such Python.
    """
    in_processes = [peer for peer in PEERS if peer != "darts"]
    source = "--peer-python" if named else PEER_PYTHON
    pythons: dict[str, str] = {}
    for entry in named or shlex.split(os.environ.get(PEER_PYTHON, "")):
        peer, path = entry.split("=", 1) if "=" in entry else ("", entry)
        if peer and peer not in in_processes:
            raise UserError(f"{source}: no peer {peer!r} runs on a Python of its own, only {', '.join(in_processes)}.")
        if which(path) is None:
            raise UserError(f"{source}: {path} is not a program. Name a Python, such as .venv/bin/python.")
        for each in [peer] if peer else in_processes:
            pythons.setdefault(each, path)
    if named:
        return pythons
    return {peer: path for peer, path in pythons.items() if find_spec(peer) is None}


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment of a process that is to use this number of threads."""
    return dict(os.environ) | dict.fromkeys(_THREAD_VARIABLES, str(threads))


def measure(
    case: Case, rivals: Sequence[Rival], workers: Workers, turns: int, threads: int, tell: Callable[[str], None]
) -> Iterator[Row]:
    """Let us and all rivals take turns on a case, and give a row for each rival.

    A rival that fails gives a row that says so, and stops nothing else. The first turn of each is a warm-up.

    Parameters
    ----------
    case
        The work.
    rivals
        Whom to measure against.
    workers
        The peers' processes.
    turns
        Number of turns of each, without the warm-up.
    threads
        Number of threads, for the rows.
    tell
        Called after each turn with what has been done.
    """
    errors: dict[str, Exception] = {}
    takers: dict[str, Turn] = {}
    measured: dict[str, list[float]] = {}
    preparations: dict[str, Callable[[], Turn]] = {
        rival.peer: lambda rival=rival: rival.prepare(workers)  # type: ignore[misc]
        for rival in rivals
    }
    for name, prepare in (preparations | {"ours": case.prepare}).items():
        if name == "ours" and not takers:
            break  # nobody to measure against
        with _errors_kept(name, errors):
            takers[name] = prepare()
    with _little_garbage_to_look_through():
        for turn in range(turns + 1):
            for name in ("ours", *preparations):
                if name in takers and not {name, "ours"} & errors.keys():
                    gc.collect()  # nobody pays for what another has left behind
                    with _errors_kept(name, errors):
                        result = takers[name]()
                        if turn:
                            measured.setdefault(name, []).append(result)
                tell(f"{case.name}: {name}, " + (f"turn {turn} of {turns}" if turn else "warm-up"))
    for rival in rivals:
        error = errors.get(rival.peer) or errors.get("ours")
        results = {} if error else {"ours": measured["ours"], "peer": measured[rival.peer]}
        yield Row(
            case=case.name,
            text=case.text,
            peer=rival.peer,
            threads=threads,
            turns=turns,
            settings=dict(case.settings),
            versions=_versions(),
            goal=None if rival.goal is None else rival.goal.text,
            error=_told(error),
            missing=isinstance(error, MissingPeerError),
            **_results(results, rival.goal, case.unit),
            **workers.describe(rival.peer),
        )


@contextmanager
def _little_garbage_to_look_through() -> Iterator[None]:
    """Keep modules and prepared data out of the garbage collector's sight, so that collecting takes no time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _errors_kept(name: str, errors: dict[str, Exception]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever goes wrong becomes a row
        errors[name] = error


def _told(error: Exception | None) -> str | None:
    if error is None or isinstance(error, MissingPeerError):
        return None if error is None else str(error)
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1]}"


def _results(measured: Mapping[str, list[float]], goal: Goal | None, unit: str) -> dict[str, Any]:
    if not measured:
        return {}
    ours, peers = (statistics.median(measured[name]) for name in ("ours", "peer"))
    ending = "s" if unit == "s" else "mb"
    return {
        f"ours_{ending}": ours,
        f"peer_{ending}": peers,
        "ratio": peers / ours if ours > 0 else None,
        "met": None if goal is None else bool(goal.is_met(ours, peers)),
        "spread": {name: [min(results), max(results)] for name, results in measured.items()},
    }


def _versions() -> dict[str, str]:
    found = versions()
    try:
        return found | {"numba": version("numba")}
    except PackageNotFoundError:
        return found


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as one JSON file, as a whole or not at all."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        _dump(file, rows)


def _dump(file: TextIO, rows: Sequence[Row]) -> None:
    json.dump({"rows": [asdict(row) for row in rows], "shares": step_shares(rows)}, file, indent=1)
    file.write("\n")


STEP_PARTS = {
    "step-network": "network forward and backward",
    "step-loading": "loading the batch",
    "step-optimizer": "optimizer",
}


def step_shares(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return the shares of a training step, ours and the peer's; the rest is the loop around it."""
    found = {row.case: (row.ours_s, row.peer_s) for row in rows if row.ours_s and row.peer_s}
    if not {"step-whole", *STEP_PARTS} <= found.keys():
        return {}
    shares: dict[str, dict[str, float]] = {}
    for side, name in enumerate(("ours", "darts")):
        whole = found["step-whole"][side] or 1.0
        parts = {text: (found[case][side] or 0.0) / whole for case, text in STEP_PARTS.items()}
        shares[name] = parts | {"the rest": 1 - sum(parts.values())}
    return shares


def table_lines(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table of `rows` for the terminal."""
    lines = [f"{'case':20} {'peer':16} {'ours':>9} {'peer':>9} {'ratio':>6}  {'met':4} {'goal':24} ours, peer: min-max"]
    for row in rows:
        start = f"{row.case:20} {row.peer:16} "
        if row.error:
            lines.append(start + row.error)
            continue
        unit = "s" if row.ours_s is not None else "MB"
        ours, peers = (row.ours_s, row.peer_s) if unit == "s" else (row.ours_mb, row.peer_mb)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        met = {None: "", True: "yes", False: "no"}[row.met]
        spread = ", ".join(f"{_shown(low, unit)}-{_shown(high, unit)}" for low, high in row.spread.values())
        lines.append(
            start + f"{_shown(ours, unit):>9} {_shown(peers, unit):>9} {ratio:>6}  {met:4} {row.goal or '':24} {spread}"
        )
    notes = dict.fromkeys(f"{row.peer}: {row.note}" for row in rows if row.note and not row.error)
    lines += ["", *notes] if notes else []
    for name, shares in step_shares(rows).items():
        told = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
        lines.append(f"a training step of {name}: {told}")
    return lines


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "MB":
        return f"{value:.1f} MB"
    for factor, name in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 0.9995 or name == "us":
            return f"{value * factor:.3g} {name}"
    return ""
