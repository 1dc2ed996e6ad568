"""A peer in a process of its own, told by lines of JSON what to do: ``python -P peer_server.py FILE PEER``.

Started with the peer's own Python, which need not have any package of this project. `FILE`, a path, holds
``PEERS``: from a peer's name to its class. That is called with the number of threads at the first request, names
its `packages`, and has a method for each request that returns the answer. A request is ``{"do": METHOD, ...}`` with the
method's arguments, or ``{"do": "hello"}``, which is answered with ``{"versions": {...}}``; where something goes wrong,
the answer is ``{"error": "..."}`` or, for a package that is not there, ``{"missing": "..."}``.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from platform import python_version
from typing import Any


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of those packages that are there."""
    found = {"python": python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # one of two names of the same package
    return found


def find_peer(file: str, peer: str) -> Callable[[int], Any]:
    """Return the class of a peer."""
    path = Path(file)
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"There is no {path}.")
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    found: Callable[[int], Any] = module.PEERS[peer]
    return found


def serve(start: Callable[[], Any], requests: Iterable[str], answer: Callable[[dict[str, Any]], None]) -> None:
    """Answer requests until there are no more."""
    peer: Any = None
    for line in requests:
        request = json.loads(line)
        do = request.pop("do")
        try:
            if peer is None:
                peer = start()
            answer({"versions": versions(peer.packages)} if do == "hello" else getattr(peer, do)(**request))
        except ModuleNotFoundError as error:
            answer({"missing": error.name or str(error)})
        except Exception as error:  # whatever goes wrong in a peer becomes its row
            lines = str(error).strip().splitlines() or [""]
            answer({"error": f"{type(error).__name__}: {lines[-1]}"})


def main() -> None:
    """Serve requests from the standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("peer")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    # what a peer prints must not end up among the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(reply: dict[str, Any]) -> None:
        answers.write(json.dumps(reply) + "\n")
        answers.flush()

    make_peer = find_peer(options.file, options.peer)
    serve(lambda: make_peer(options.threads), sys.stdin, answer)


if __name__ == "__main__":
    main()
