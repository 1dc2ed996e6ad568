"""Command line of the benchmarks: ``python -m benchmarks --help``."""

import sys
from collections.abc import Sequence

from benchmarks.backtest import command as backtest
from benchmarks.chapter import command as chapter
from benchmarks.core.errors import UserError
from benchmarks.sentiment import command as sentiment
from benchmarks.speed import command as speed
from benchmarks.tables import command as tables
from seq_plugins._command_line import Parser

COMMANDS = {
    "backtest": backtest,
    "chapter": chapter,
    "sentiment": sentiment,
    "speed": speed,
    "tables": tables,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 something failed, 2 wrong input."""
    parser = Parser(prog="python -m benchmarks", description="Benchmarks of seq_plugins.")
    parsers = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(parsers.add_parser(name, help=command.SUMMARY))
    try:
        options = parser.parse_args(arguments)
        code: int = COMMANDS[options.command].run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main())
