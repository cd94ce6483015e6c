"""Show who signs for a provider, give its actors new keys, and bring back those that lost their state.

Rotated and recovered actors sign with new keys from the next epoch on, by a roster that the root signs, so that
DIR/keys/root.pem must be there, and the provider stopped. Clients notice nothing: they follow the chain of rosters. The
former private keys are deleted. A recovered inbox begins a lane of its own; nobody can answer for what was lost.

examples:
  noise roster show --data ./provider
  noise roster show --server https://noise.example --origin ID
  noise roster rotate --data ./provider                       (all actors)
  noise roster rotate --data ./provider --actor log-0-0
  noise roster recover --data ./provider --actor router-0-1 --actor inbox-0-1
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import trio

from noise.cli.asking import open_asking
from noise.cli.options import parse_id_option
from noise.node import open_state
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import format_id, parse_actor
from noise.protocol.log_pages import ROSTERS
from noise.protocol.signing import Signed
from noise.protocol.statements import Roster, check_successor, open_roster
from noise.renewal import Renewal, recover, rotate

_ROW = "{:<16} {:>11} {:>10} {:>4}  {}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="who signs, since when, and which rosters there were")
    source = show.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="DIR", help="of a provider that is stopped")
    source.add_argument("--server", metavar="URL", help="of one that runs; needs --origin")
    show.add_argument("--origin", type=parse_id_option, metavar="ID", help="the provider that it must be")
    for name, is_needed, summary in (
        ("rotate", False, "new keys for actors, all by default"),
        ("recover", True, "let actors whose state or key is lost begin anew"),
    ):
        action = actions.add_parser(name, help=summary)
        action.add_argument("--data", type=Path, required=True, metavar="DIR", help="of a provider that is stopped")
        action.add_argument(
            "--actor",
            action="append",
            default=[],
            required=is_needed,
            metavar="NAME",
            help="such as router-0-1; as often as needed",
        )


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "show":
        _show(_opened(*_signed_rosters(arguments)))
    else:
        renew = {"rotate": rotate, "recover": recover}[arguments.action]
        _tell(trio.run(renew, arguments.data, arguments.actor))
    return 0


def _tell(renewal: Renewal) -> None:
    roster = renewal.roster
    print(f"roster {roster.version} binds epochs from {roster.valid_from_epoch} on")
    for name in renewal.deleted:
        print(f"deleted the private key {name}")


def _signed_rosters(arguments: argparse.Namespace) -> tuple[bytes, Sequence[Signed]]:
    """(origin, all signed rosters), not verified."""
    if arguments.data is not None:
        return trio.run(_read, arguments.data)
    if arguments.origin is None:
        raise NoiseError("--server needs --origin: who else should it be?", code="bad-option")
    return arguments.origin, trio.run(_fetch, arguments.server)


async def _read(data: Path) -> tuple[bytes, Sequence[Signed]]:
    async with open_state(data) as state:
        return state.origin, state.rosters


async def _fetch(url: str) -> list[Signed]:
    """Raises NoiseError."""
    async with open_asking(url) as asking:
        return [Signed(*roster) for roster in await asking.get(ROSTERS, "/v1/rosters")]


def _opened(origin: bytes, rosters: Sequence[Signed]) -> list[Roster]:
    """Every one verified, and that they follow each other from the first one on. Raises NoiseError."""
    opened: list[Roster] = []
    for i, signed in enumerate(rosters):
        roster = open_roster(signed, origin)
        if i:
            check_successor(rosters[i - 1], roster)
        opened.append(roster)
    if not opened or opened[0].version != 1:
        raise NoiseError("rosters are missing: a provider has them from version 1 on", code="no-roster")
    return opened


def _show(rosters: Sequence[Roster]) -> None:
    """The last roster, with the epoch from which on each incarnation signs; then what each roster changed."""
    current = rosters[-1]
    since: dict[tuple[bytes, int], int] = {}
    for roster in rosters:
        for entry in roster.actors:
            since.setdefault((entry.actor, entry.incarnation), roster.valid_from_epoch)
    lanes = {one.inbox: str(one.lane) for one in current.lanes}
    print(f"provider {format_id(current.origin)}")
    print(f"roster {current.version}, from epoch {current.valid_from_epoch} on")
    print(", ".join(f"{name} {value}" for name, value in current.parameters._asdict().items()))
    print(_ROW.format("actor", "incarnation", "from epoch", "lane", "key"))
    for entry in current.actors:
        began = since[entry.actor, entry.incarnation]
        name, lane = str(parse_actor(entry.actor)), lanes.get(entry.actor, "")
        print(_ROW.format(name, entry.incarnation, began, lane, format_id(entry.key)))
    before: set[tuple[bytes, int]] = set()
    for roster in rosters:
        named = {(entry.actor, entry.incarnation) for entry in roster.actors}
        new = ", ".join(f"{parse_actor(actor)}.{n}" for actor, n in sorted(named - before))
        print(f"roster {roster.version}, from epoch {roster.valid_from_epoch} on: {new or 'nobody'} began")
        before = named
