"""The `noise` command. Each subcommand is a module here with `add_arguments` and `run`; see `noise --help`.

A command is imported when it is called for: what a stranger runs to verify a proof loads nothing of the server.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from noise.protocol.errors import NoiseError

_COMMANDS = ("init", "serve", "fsck", "verify", "demo")

_DESCRIPTION = """\
A server that orders and delivers end-to-end encrypted messages, and that nobody has to trust.

  noise demo                     see it work, in one terminal
  noise init --data DIR          make a provider: keys and an empty log
  noise serve --data DIR         run it
  noise fsck --data DIR          check every stored byte against what was signed
  noise verify FILE --origin ID  check a proof that a provider lied

The client's command is noise-client.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0 well, 1 failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="noise", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name in given[:1] if given[:1] and given[0] in _COMMANDS else _COMMANDS:
        module = import_module(f"noise.cli.{name}")
        summary = (module.__doc__ or "").splitlines()[0]
        command = subparsers.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    parsed = parser.parse_args(given)
    try:
        return int(parsed.run(parsed))
    except NoiseError as error:
        print(f"noise {parsed.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
