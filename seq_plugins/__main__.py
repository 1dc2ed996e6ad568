"""Command line of the package: ``python -m seq_plugins --help``."""

import sys
from collections.abc import Sequence

import seq_plugins
from seq_plugins._command_line import Parser, UserError
from seq_plugins.forecasting import command as forecast

COMMANDS = {"forecast": forecast}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 2 wrong input, 130 interrupted."""
    parser = Parser(prog="python -m seq_plugins", description=seq_plugins.__doc__)
    parser.add_argument("--version", action="version", version=seq_plugins.__version__)
    parsers = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(parsers.add_parser(name, help=command.SUMMARY))
    try:
        options = parser.parse_args(arguments)
        return COMMANDS[options.command].run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
