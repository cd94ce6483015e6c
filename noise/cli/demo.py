"""See it work: a provider, bots that talk through it, and a page where you are a client and can have the server lie.

Open the URL that it prints. The page is a real client: it holds keys, verifies all that it gets, and convicts the
server when that lies. The terminal shows what the bots send and verify. Ends after --messages, or with Ctrl-C.

Kept in --data are the provider with its keys, its log and all messages, sealed as they were sent, and the devices of
the bots. Each provider that was made to lie is followed by a new one beside it.

examples:
  noise demo                            bots chat until Ctrl-C; open the page
  noise demo --messages 500             ... until 500 messages were delivered to all, then exits 0
  noise demo --input README.md          the messages are the lines of a file
"""

import argparse
import logging
import math
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from noise.cli.serve import first_error
from noise.config import BIND, EPOCH_MS, HEARTBEAT_MS, ServeOptions, parse_bind
from noise.demo.assets import find_folder, load_assets
from noise.demo.bots import NAMES, make_lines
from noise.demo.house import House, Round
from noise.demo.page import PageFace
from noise.demo.panel import PanelFace
from noise.pipeline.topology import NAMES as TOPOLOGIES
from noise.protocol.errors import NoiseError
from noise.web.app import Face

_REFRESH_S = 0.1
_PRINT_S = 1.0
_IDLE_MS = 1_000
_SHAPE = 2  # inboxes, and outboxes: more than one of each, so that there is somebody to blame
_RATE, _RATE_OF_MANY, _RATE_MIN = 0.3, 20.0, 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="DIR", help="where to keep it; default: a new temporary directory")
    parser.add_argument("--bind", metavar="HOST:PORT", help=f"default {BIND}, or a free port if that one is taken")
    parser.add_argument(
        "--messages", type=int, metavar="N", help="end after N messages; default: with the input, if any"
    )
    parser.add_argument("--input", type=Path, metavar="FILE", help="send the lines of this file")
    parser.add_argument(
        "--clients", type=int, default=3, choices=range(3, 9), metavar="3..8", help="bots; default %(default)s"
    )
    parser.add_argument(
        "--rate",
        type=float,
        help=f"messages a second; 0: at once; default {_RATE}, so that you can follow, with --messages or --input "
        f"{_RATE_OF_MANY:.0f}",
    )
    parser.add_argument("--topology", choices=TOPOLOGIES, default="parallel", help="default %(default)s")


def run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    if arguments.messages is not None and arguments.messages < 1:
        raise NoiseError("--messages needs a number from 1 up", code="bad-option")
    if arguments.rate and not _RATE_MIN <= arguments.rate < math.inf:
        raise NoiseError(f"--rate is a number of messages a second, 0 or from {_RATE_MIN} up", code="bad-option")
    lines = _lines(arguments)
    host, port = parse_bind(arguments.bind or BIND)
    assets = load_assets(find_folder())
    os.umask(0o077)
    data = arguments.data or _make_temporary()
    n_actors = 1 if arguments.topology == "central" else _SHAPE
    options = ServeOptions(data, host, port, arguments.topology, n_actors, n_actors, EPOCH_MS, _IDLE_MS, HEARTBEAT_MS)
    rate = arguments.rate
    if rate is None:
        rate = _RATE if arguments.messages is None and arguments.input is None else _RATE_OF_MANY

    async def talk(current: Round) -> None:
        await current.company.talk(lines, rate)
        house.stop()

    def make_faces(house: House) -> tuple[Face, ...]:
        return PageFace(assets, house.picture), PanelFace(house, host)

    while True:
        house = House(data, options, NAMES[: arguments.clients], make_faces, talk)
        try:
            trio.run(_serve, house)
            break
        except* NoiseError as group:
            error = first_error(group)
            if error.code != "bind-failed" or arguments.bind is not None or options.port == 0:
                raise error from None
            options = options._replace(port=0)
    print(_summary(house.round))
    _say_what_is_kept(house.round)
    return 0


def _make_temporary() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="noise-demo-"))
    except OSError as error:
        raise NoiseError(
            f"no temporary directory: {error.strerror}: name one with --data", code="data-unusable"
        ) from None


def _lines(arguments: argparse.Namespace) -> Iterator[str]:
    """What to send: lines of the input, or phrases for ever; at most --messages."""
    lines = make_lines()
    if arguments.input is not None:
        try:
            text = arguments.input.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise NoiseError(f"{arguments.input} cannot be read: {error.strerror}", code="bad-input") from None
        lines = (line for line in text.splitlines() if line)
    return (line for line, _ in zip(lines, range(arguments.messages or sys.maxsize), strict=False))


async def _serve(house: House) -> None:
    async with trio.open_nursery() as watching:
        watching.start_soon(_stop_on_signal, house)
        async with trio.open_nursery() as serving:
            await serving.start(house.run)
            watching.start_soon(_show, house)
        watching.cancel_scope.cancel()


async def _stop_on_signal(house: House) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            house.stop()


async def _show(house: House) -> None:
    """Keep the picture fresh on a terminal, or print a line a second elsewhere, until nobody reads on."""
    console = Console()
    if not console.is_terminal:
        with suppress(BrokenPipeError):  # what is still to be said at the end raises it again
            print("\n".join(_invitation(house.round)), flush=True)
            while True:
                await trio.sleep(_PRINT_S)
                print(_summary(house.round), flush=True)
        house.stop()
        return
    with Live(_render(house.round), console=console, refresh_per_second=10) as live:
        try:
            while True:
                live.update(_render(house.round))
                await trio.sleep(_REFRESH_S)
        finally:
            live.update(_render(house.round))


def _invitation(current: Round) -> list[str]:
    names = ", ".join(bot.name for bot in current.company.bots)
    return [
        f"open {current.provider.url}/ in a browser",
        f"You are a client there. Write to {names}; then make the server lie, and watch it be convicted.",
        f"Kept in {current.directory}: the provider with its keys, log and sealed messages, and the bots' devices.",
    ]


def _render(current: Round) -> Group:
    counts, tally = current.counts, current.tally
    where, what, kept = _invitation(current)
    numbers = Table.grid(padding=(0, 3))
    numbers.add_row("epochs", "sent", "receipts verified", "sequenced", "pushed", "latency p50", "p99")
    shown = (counts.n_epochs, tally.sent, tally.receipts, counts.n_messages, counts.n_deliveries)
    numbers.add_row(*[f"[bold]{number}" for number in shown], tally.percentile(0.5), tally.percentile(0.99))
    bots = Table.grid(padding=(0, 3))
    bots.add_row("bot", "state", "deliveries verified")
    for name in tally.names:
        bots.add_row(f"[bold]{name}", tally.states[name], str(tally.verified[name]))
    lines = [Text(line, overflow="ellipsis", no_wrap=True) for line in tally.last]
    return Group("", Text(where, style="bold"), Text(what), Text(kept, style="dim"), "", numbers, "", bots, "", *lines)


def _summary(current: Round) -> str:
    counts, tally = current.counts, current.tally
    return (
        f"{counts.n_epochs} epochs; {tally.sent} sent, {tally.receipts} receipts verified, {counts.n_messages} "
        f"sequenced, {counts.n_deliveries} pushed, {sum(tally.verified.values())} deliveries verified; latency p50 "
        f"{tally.percentile(0.5)}, p99 {tally.percentile(0.99)}"
    )


def _say_what_is_kept(current: Round) -> None:
    print(f"kept, with the provider's keys, log and sealed messages, and the bots' devices: {current.directory}")
    print(f"check every byte:  noise fsck --data {current.data}")
    if current.lie is None:
        print(f"serve it again:    noise serve --data {current.data}")
    else:
        print("this provider has lied: no check of it will be clean, and it is of no more use")
