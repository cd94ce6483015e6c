"""The zoo of lying providers: `python -m tests.zoo`. A server to try clients on, for nothing else.

Knows nothing of what a lie does: it lists what there is, serves one of them, or shows what clients make of them.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio

from noise.config import BIND, ServeOptions, parse_bind
from noise.node import create_node
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import format_id, parse_id
from tests.zoo.convicting import Case, is_provable, knowing, needs_link, spend_evening
from tests.zoo.lie import Lie, Told
from tests.zoo.lies import FACTS, make_lie
from tests.zoo.provider import LyingProvider
from tests.zoo.table import Row, make_table, with_table

EVENINGS_AT_ONCE = 3

_EXAMPLE = """\
examples:
  python -m tests.zoo list
  python -m tests.zoo serve --lie drop-one --data ./liar --bind 127.0.0.1:8080
  python -m tests.zoo serve --lie drop-one --data ./liar --after 3 --victim ID
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
        lines.append(f"  {'':{width}}    {' or '.join(facts.verdicts)}; noticed by {facts.noticed_by.value}")
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
    run = commands.add_parser(
        "run",
        help="let clients of the SDK meet liars, and print who was convicted of what, and how soon",
        description="Three clients spend an evening with each liar, over real sockets. A table in Markdown says what "
        "came of it. Exit status 1: a lie was not noticed.",
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
    text = document.read_text(encoding="utf-8") if document else ""
    if document:
        with_table(text, "")
    rows = trio.run(spend_evenings, names)
    table = make_table(rows)
    print(table, end="")
    if document:
        document.write_text(with_table(text, table), encoding="utf-8")
    return int(any(row.linked.epochs_until(*knowing(row.facts)) is None for row in rows))


async def spend_evenings(names: Sequence[str]) -> list[Row]:
    """A few at a time: most of an evening is waiting."""
    linked: dict[str, Case] = {}
    sealed: dict[str, Case] = {}
    at_once = trio.CapacityLimiter(EVENINGS_AT_ONCE)

    async def spend(name: str, data: Path, cases: dict[str, Case], is_linked: bool) -> None:
        async with at_once:
            cases[name] = await spend_evening(make_lie(name), data, is_linked=is_linked)

    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(spend, name, Path(directory) / name, linked, True)
                if is_provable(FACTS[name]) and not needs_link(FACTS[name]):
                    nursery.start_soon(spend, name, Path(directory) / f"{name} sealed", sealed, False)
    return [Row(FACTS[name], linked[name], sealed.get(name)) for name in names]


def run_server(arguments: argparse.Namespace) -> None:
    """Raises NoiseError."""
    host, port = parse_bind(arguments.bind)
    options = ServeOptions(arguments.data, host, port, "parallel", None, None, None, None, None)
    lie = make_lie(arguments.lie)
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
    print(f"lied in epoch {told.epoch}{about}{to}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
