"""The zoo of lying providers: `python -m tests.zoo`. A server to try clients on, for nothing else.

Knows nothing of what a lie does: it lists what there is, serves one of them, or shows what clients make of them.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from noise.config import BIND, ServeOptions, parse_bind
from noise.demo.zoo.lie import Attitude, Facts, Lie, Told
from noise.demo.zoo.lies import FACTS, make_lie
from noise.demo.zoo.provider import LyingProvider
from noise.node import create_node
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Role, format_id, parse_id
from tests.zoo.convicting import Case, is_provable, needs_link, shape_for, spend_evening
from tests.zoo.table import WRONG, Row, StageRow, make_stage_table, make_table, with_table

EVENINGS_AT_ONCE = 3
ROLES = ("inbox", "router", "receiver", "outbox")

_EXAMPLE = """\
examples:
  python -m tests.zoo list
  python -m tests.zoo serve --lie drop-one --data ./liar --bind 127.0.0.1:8080
  python -m tests.zoo serve --lie drop-one --data ./liar --after 3 --victim ID
  python -m tests.zoo serve --lie drop-one --by router --inboxes 3 --outboxes 3 --data ./liar
  python -m tests.zoo run
  python -m tests.zoo run fork rollback

A lie is told once, about the first message with more than one recipient, after those that --after lets pass. Then a
line on stderr says so."""


def describe() -> str:
    """All lies, a line or two each."""
    width = max(map(len, FACTS))
    lines = []
    for facts in FACTS.values():
        lines.append(f"  {facts.name:{width}}  {facts.summary}")
        told_by = f"; told by {', '.join(role.name.lower() for role in facts.stages)}" if facts.stages else ""
        lines.append(f"  {'':{width}}    {' or '.join(facts.verdicts)}; noticed by {facts.noticed_by.value}{told_by}")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m tests.zoo", description=(__doc__ or "").strip(), epilog=_EXAMPLE, formatter_class=layout
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("list", help="print every lie, and what convicts whoever tells it")
    serve = commands.add_parser(
        "serve", help="serve a provider that tells one lie", epilog="lies:\n" + describe(), formatter_class=layout
    )
    serve.add_argument("--lie", required=True, choices=list(FACTS), metavar="NAME", help="which, see below")
    serve.add_argument("--data", required=True, type=Path, metavar="DIR", help="a provider, made if there is none")
    serve.add_argument(
        "--bind", default=BIND, metavar="HOST:PORT", help="default %(default)s; a fork takes the next port, too"
    )
    serve.add_argument("--victim", metavar="ID", help="lie to this device; default: to whom it suits")
    serve.add_argument("--after", type=int, default=1, metavar="N", help="messages to let pass; default %(default)s")
    serve.add_argument("--by", choices=ROLES, metavar="ROLE", help="whose actors lie, see below; default: the first")
    serve.add_argument("--also-by", choices=ROLES, metavar="ROLE", help="whose actors lie, too")
    serve.add_argument(
        "--custody",
        choices=[attitude.value for attitude in Attitude],
        default=Attitude.OPEN.value,
        help="what liars answer when they are asked for their custody: the truth, nothing, nothing for a while, other "
        "bytes, or nothing while the sequencer keeps challenges to them out of the log; default %(default)s",
    )
    serve.add_argument("--inboxes", type=int, metavar="N", help="how many; default: as it is, or 1")
    serve.add_argument("--outboxes", type=int, metavar="N", help="how many; default: as it is, or 1")
    run = commands.add_parser(
        "run",
        help="let clients of the SDK meet liars, and print who was convicted of what, and how soon",
        description="Three clients spend an evening with each liar, over real sockets. Two tables in Markdown say what "
        "came of it, and which actors were named. Exit status 1: a lie was not noticed, or an honest actor was named.",
    )
    run.add_argument("lies", nargs="*", metavar="LIE", help="which; default: all")
    run.add_argument("--write", type=Path, metavar="FILE", help="put the table in its place in this document")
    parsed = parser.parse_args()
    unknown = set(parsed.lies if parsed.command == "run" else ()) - FACTS.keys()
    if unknown:
        run.error(f"no such lie: {', '.join(sorted(unknown))}")
    return parsed


def main() -> int:
    arguments = parse_arguments()
    if arguments.command == "list":
        print(describe())
        return 0
    try:
        if arguments.command == "run":
            return run_evenings(arguments.lies or list(FACTS), arguments.write)
        run_server(arguments)
    except NoiseError as error:
        print(f"python -m tests.zoo {arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0


def run_evenings(names: Sequence[str], document: Path | None) -> int:
    """The exit status. Raises NoiseError when the document has no place for a table."""
    if document:
        with_table(document.read_text(encoding="utf-8"), "")
    tables = [make_table(trio.run(spend_evenings, names)), make_stage_table(trio.run(spend_stage_evenings, names))]
    table = "\n".join(tables)
    print(table, end="")
    if document:
        document.write_text(with_table(document.read_text(encoding="utf-8"), table), encoding="utf-8")
    return int(WRONG in table)


class _Evenings:
    """A few at a time: most of an evening is waiting."""

    def __init__(self, nursery: trio.Nursery, directory: str) -> None:
        self._nursery = nursery
        self._directory = Path(directory)
        self._at_once = trio.CapacityLimiter(EVENINGS_AT_ONCE)
        self._cases: dict[int, Case] = {}
        self._n_planned = 0

    def plan(self, lie: Lie, *, shape: tuple[int, int] | None = None, is_linked: bool = True) -> Callable[[], Case]:
        """Whose result can be asked for when the nursery has ended."""
        place = self._n_planned
        self._n_planned += 1

        async def spend() -> None:
            async with self._at_once:
                data = self._directory / str(place)
                self._cases[place] = await spend_evening(lie, data, shape=shape, is_linked=is_linked)

        self._nursery.start_soon(spend)
        return lambda: self._cases[place]


async def spend_evenings(names: Sequence[str]) -> list[Row]:
    """With the usual liars: with a link, and without one where none is needed."""
    planned: list[tuple[Facts, Callable[[], Case], Callable[[], Case] | None]] = []
    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as nursery:
            evenings = _Evenings(nursery, directory)
            for facts in (FACTS[name] for name in names):
                can_do_without = is_provable(facts) and not needs_link(facts)
                sealed = evenings.plan(make_lie(facts.name), is_linked=False) if can_do_without else None
                planned.append((facts, evenings.plan(make_lie(facts.name)), sealed))
    return [Row(facts, linked(), sealed() if sealed else None) for facts, linked, sealed in planned]


async def spend_stage_evenings(names: Sequence[str]) -> list[StageRow]:
    """With each liar that a message passes, which answers when it is asked, or does not."""
    planned: list[tuple[Facts, Role, Callable[[], Case], Callable[[], Case]]] = []
    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as nursery:
            evenings = _Evenings(nursery, directory)
            for facts in (FACTS[name] for name in names):
                for role in sorted(role for role in facts.stages if role.name.lower() in ROLES):
                    shape = shape_for(facts, role)
                    asked = evenings.plan(make_lie(facts.name, role), shape=shape)
                    silent = evenings.plan(make_lie(facts.name, role, attitude=Attitude.SILENT), shape=shape)
                    planned.append((facts, role, asked, silent))
    return [StageRow(facts, role, asked(), silent()) for facts, role, asked, silent in planned]


def run_server(arguments: argparse.Namespace) -> None:
    """Raises NoiseError."""
    host, port = parse_bind(arguments.bind)
    shape = (arguments.inboxes, arguments.outboxes)
    options = ServeOptions(arguments.data, host, port, "parallel", *shape, None, None, None)
    by = [Role[name.upper()] for name in (arguments.by, arguments.also_by) if name]
    lie = make_lie(arguments.lie, *by, attitude=Attitude(arguments.custody))
    lie.arm(parse_id(arguments.victim) if arguments.victim else None, max(arguments.after, 0))
    os.umask(0o077)
    try:
        trio.run(serve, lie, options)
    except* NoiseError as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def serve(lie: Lie, options: ServeOptions) -> None:
    """Until SIGTERM or SIGINT."""
    if not options.data.exists():
        await create_node(options.data)
    provider = LyingProvider(lie, options)
    lie.on_told = _say
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(provider.run)
            for url in provider.urls:
                print(f"ready url={url} origin={provider.origin_text} lie={lie.facts.name}", flush=True)
            await anext(aiter(signals))
            provider.stop()


def _say(told: Told) -> None:
    about = f" about {told.seq.hex()}" if told.seq else ""
    to = f" to {format_id(told.victim)}" if told.victim else ""
    by = f" by {told.by}" if told.by else ""
    print(f"lied in epoch {told.epoch}{about}{to}{by}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
