"""The command line of `noise-client`: its commands, their options, and what --help teaches.

Knows nothing of what the commands do.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence

from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.identifiers import parse_id
from noise_client.cli_gossip import EXPORT, GOSSIP, IMPORT, PROOFS

_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{42}")

_DESCRIPTION = """\
Send and receive through a noise provider that nobody has to trust: what is printed was verified.

  noise-client new --device alice.device
  noise-client new --device bob.device
  noise-client listen --device bob.device --server http://127.0.0.1:8080 --count 1 &
  echo hello | noise-client send --device alice.device --server http://127.0.0.1:8080 --to BOB_ID
"""

_EPILOG = """\
A device file holds a key, all that the device trusts, what it still has to send, and what it has not printed yet. It
belongs to one process at a time. The first provider that proves itself is pinned in it, or the one of --origin.

Messages are sealed end to end, for devices that have connected to this provider before (they publish keys for it); with
--unsealed they travel as they are. Every command compares what the provider shows us with what it shows others, inside
sealed messages and over --gossip links, and says on standard error when the verdict on it changes. A proof that it lied
is written beside the device file, for `noise verify`.

exit status:
  0  done                      4  the provider misbehaved: see the proof, or the device file
  1  failed                    5  --timeout-s passed first
  2  wrong usage               130, 143  stopped by SIGINT, SIGTERM
  3  the provider refused some lines; the others were sent
"""

_SEND = """\
Send standard input, one message a line, to some devices; and to oneself, as every message.

Lines are sent as they come, without waiting for each other's receipts. For each verified receipt a JSON line is
printed, in the order of the lines: {"seq": 32 hex digits, "epoch": number, "recipients": [ids]}. At the end of the
input all receipts are waited for, as long as it takes: a provider that is down is tried again and again.

Lines without a receipt wait in the device file, whatever ends the command. The next `send` with that device sends them
first, and prints their receipts first; `noise-client send ... </dev/null` sends nothing else.

examples:
  echo hello | noise-client send --device alice.device --server http://127.0.0.1:8080 --to BOB_ID
  tail -f log | noise-client send --device alice.device --server https://noise.example --to BOB_ID CAROL_ID
"""

_LISTEN = """\
Print verified messages, one JSON line each, in the provider's order: {"seq", "epoch", "sender", "text"}.

A message that its sender did not seal has "seal": "none", one that cannot be opened "seal": "unreadable" and no text.

`text` is the message as UTF-8; one that is not UTF-8 has replacement characters in `text`, and its bytes in "base64"
(base64url without padding). Each message is printed once: those of a line that was not written completely come again.
Without --count it goes on until it is stopped, also over restarts of the provider.

examples:
  noise-client listen --device bob.device --server http://127.0.0.1:8080
  noise-client listen --device bob.device --server http://127.0.0.1:8080 --count 10 --timeout-s 60 | jq -r .text
"""


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("noise-client", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=layout)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    new = commands.add_parser(
        "new",
        help="make a device file, and print the device's id",
        description="Make a device file, which must not exist yet, and print the device's id and nothing else.",
    )
    send = commands.add_parser(
        "send", help="send standard input, one message a line", description=_SEND, formatter_class=layout
    )
    listen = commands.add_parser(
        "listen", help="print what the device receives", description=_LISTEN, formatter_class=layout
    )
    gossip = commands.add_parser(
        "gossip", help="compare with peers, over links of our own", description=GOSSIP, formatter_class=layout
    )
    export = commands.add_parser(
        "export", help="write what the provider showed us, for a peer", description=EXPORT, formatter_class=layout
    )
    read = commands.add_parser("import", help="compare a peer's file", description=IMPORT, formatter_class=layout)
    proofs = commands.add_parser("proofs", help="write the proofs that are kept", description=PROOFS)
    export.add_argument("--peer", metavar="ID", help="the device that shall import it")
    export.add_argument("--output", required=True, metavar="FILE", help="the file to write")
    read.add_argument("view", metavar="FILE", help="what a peer has exported")
    for command in (new, send, listen, gossip, export, read, proofs):
        command.add_argument("--device", required=True, metavar="FILE", help="the device file")
    for command in (send, listen, gossip):
        command.add_argument("--gossip-listen", metavar="HOST:PORT", help="let peers dial us, to compare")
        command.add_argument("--gossip", action="append", default=[], metavar="URL", help="a peer, ws://HOST:PORT")
        command.add_argument("--unsealed", action="store_true", help="neither seal what we send nor open what comes")
        command.add_argument(
            "--server", required=True, metavar="URL", help="http://HOST:PORT of the provider, or https"
        )
        command.add_argument("--origin", metavar="ID", help="the provider's id; else the first one seen is pinned")
        command.add_argument("--timeout-s", type=_positive(float), metavar="S", help="give up after this many seconds")
    send.add_argument("--to", required=True, nargs="+", metavar="ID", help="ids of the devices that shall receive it")
    listen.add_argument("--count", type=_positive(int), metavar="N", help="stop after N messages were printed")
    listen.add_argument("--own", action="store_true", help="print also what this device sent itself")
    return parser.parse_args([_shield_id(text) for text in (sys.argv[1:] if arguments is None else arguments)])


def _shield_id(text: str) -> str:
    """One id in 64 begins with a dash; argparse takes for a value what has a space in it, which `_parse_ids` strips."""
    return " " + text if _DASHED_ID.fullmatch(text) else text


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        number = kind(text)
        if not 0 < number < math.inf:
            raise ValueError
        return number

    parse.__name__ = "positive number"  # what argparse calls it in its complaint
    return parse


def parse_ids(texts: Sequence[str], option: str) -> list[bytes]:
    try:
        return [parse_id(text.strip()) for text in texts]
    except DecodeError:
        raise NoiseError(
            f"{option} takes ids, of 43 characters each, as `noise-client new` prints them", code="bad-id"
        ) from None
