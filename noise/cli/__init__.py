"""The `noise` command. Each subcommand is a module here with `add_arguments` and `run`; see `noise --help`.

A command is imported when it is called for: what a stranger runs to verify a proof loads nothing of the server.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module

from noise.protocol.errors import NoiseError

_COMMANDS = ("init", "serve", "fsck", "audit", "roster", "verify", "blame", "demo")

_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{42}")

_DESCRIPTION = """\
A server that orders and delivers end-to-end encrypted messages, and that nobody has to trust.

  noise demo                     see it work, in one terminal
  noise init --data DIR          make a provider: keys and an empty log
  noise serve --data DIR         run it
  noise fsck --data DIR          check every stored byte against what was signed
  noise audit --data DIR         replay its stages, and name the one that lied
  noise roster show --data DIR   who signs for it; rotate keys, recover lost actors
  noise verify FILE --origin ID  check a proof that a provider lied
  noise blame FILE --server URL --origin ID
                                 find out which of its actors it was

The client's command is noise-client.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 0 well, 1 failed, 2 wrong usage; others as the command says."""
    given = [_shield_id(text) for text in (sys.argv[1:] if arguments is None else arguments)]
    try:
        parsed = _parse(given)
        status = int(parsed.run(parsed))
        sys.stdout.flush()
        return status
    except NoiseError as error:
        print(f"noise {given[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: say nothing more at the end
        return 141


def _parse(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="noise", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
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
    return parser.parse_args(given)


def _shield_id(text: str) -> str:
    """One id in 64 begins with a dash. What has a space in it is a value to argparse; `parse_id_option` strips it."""
    return " " + text if _DASHED_ID.fullmatch(text) else text
