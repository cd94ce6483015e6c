"""The `noise` command. Each subcommand is a module here with `add_arguments` and `run`; see `noise --help`."""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from noise.cli import demo, fsck, init, serve
from noise.protocol.errors import NoiseError

_COMMANDS: dict[str, ModuleType] = {"init": init, "serve": serve, "fsck": fsck, "demo": demo}

_DESCRIPTION = """\
A server that orders and delivers end-to-end encrypted messages, and that nobody has to trust.

  noise demo                     see it work, in one terminal
  noise init --data DIR          make a provider: keys and an empty log
  noise serve --data DIR         run it
  noise fsck --data DIR          check every stored byte against what was signed

The client's command is noise-client.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0 well, 1 failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="noise", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        command = subparsers.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except NoiseError as error:
        print(f"noise {parsed.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
