"""See it work: a provider on an embedded store, and clients that talk through it and verify everything.

Shows live what is sent, sequenced, pushed and verified. Ends by itself after --messages, or with Ctrl-C, and says where
its data lies: the provider can be served again with noise serve, and checked with noise fsck.

examples:
  noise demo                            three clients chat until Ctrl-C
  noise demo --messages 500             ... until 500 messages were delivered to all, then exits 0
  noise demo --input README.md          the messages are the lines of a file
"""

import argparse
import logging
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from noise.cli.serve import first_error
from noise.config import EPOCH_MS, HEARTBEAT_MS, ServeOptions
from noise.node import create_node, open_node, serve_node
from noise.pipeline.topology import NAMES
from noise.protocol.identifiers import format_id
from noise_client import Client, NoiseError, open_client
from noise_client.trust_store_sqlite import create_device_file

_NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
_PHRASES = ("hello", "the ferry leaves at nine", "who is bringing bread?", "I am", "see you there", "signed and sealed")
_LAST_SHOWN = 8
_REFRESH_S = 0.1
_PRINT_S = 1.0
_DEMO_IDLE_MS = 1_000
_STOP_S = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="DIR", help="where to keep it; default: a new temporary directory")
    parser.add_argument(
        "--messages", type=int, metavar="N", help="end after N messages; default: with the input, if any"
    )
    parser.add_argument("--input", type=Path, metavar="FILE", help="send the lines of this file")
    parser.add_argument(
        "--clients", type=int, default=3, choices=range(2, 9), metavar="2..8", help="default %(default)s"
    )
    parser.add_argument("--rate", type=float, default=20.0, help="messages a second, default %(default)s; 0: at once")
    parser.add_argument("--topology", choices=NAMES, default="parallel", help="default %(default)s")


class Board:
    """What the demo knows, and how it shows it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.epochs = 0
        self.sequenced = 0
        self.pushed = 0
        self.sent = 0
        self.receipts = 0
        self.verified = dict.fromkeys(names, 0)
        self.states = dict.fromkeys(names, "connecting")
        self.sent_at: dict[bytes, float] = {}
        self.latencies: deque[float] = deque(maxlen=10_000)
        self.last: deque[str] = deque(maxlen=_LAST_SHOWN)

    def percentile(self, share: float) -> str:
        ordered = sorted(self.latencies)
        return f"{1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]:.1f} ms" if ordered else "-"

    def render(self, url: str) -> Group:
        counts = Table.grid(padding=(0, 3))
        counts.add_row("epochs", "sent", "receipts verified", "sequenced", "pushed", "latency p50", "p99")
        numbers = (self.epochs, self.sent, self.receipts, self.sequenced, self.pushed)
        counts.add_row(*[f"[bold]{number}" for number in numbers], self.percentile(0.5), self.percentile(0.99))
        clients = Table.grid(padding=(0, 3))
        clients.add_row("client", "state", "deliveries verified")
        for name in self.names:
            clients.add_row(f"[bold]{name}", self.states[name], str(self.verified[name]))
        lines = [Text(line, overflow="ellipsis", no_wrap=True) for line in self.last]
        return Group(Text(f"provider at {url}", style="dim"), counts, "", clients, "", *lines)

    def summary(self) -> str:
        deliveries = sum(self.verified.values())
        return (
            f"{self.epochs} epochs; {self.sent} sent, {self.receipts} receipts verified, {self.sequenced} sequenced, "
            f"{self.pushed} pushed, {deliveries} deliveries verified; latency p50 {self.percentile(0.5)}, "
            f"p99 {self.percentile(0.99)}"
        )


def run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    if arguments.messages is not None and arguments.messages < 1:
        raise NoiseError("--messages needs a number from 1 up", code="bad-option")
    lines = _lines(arguments)
    data = arguments.data or Path(tempfile.mkdtemp(prefix="noise-demo-"))
    names = _NAMES[: arguments.clients]
    board = Board(names)
    try:
        trio.run(_demo, arguments, data, lines, board)
    except* NoiseError as group:
        raise first_error(group) from None
    print(board.summary())
    print(f"data: {data}")
    print(f"check every byte:  noise fsck --data {data / 'provider'}")
    print(f"serve it again:    noise serve --data {data / 'provider'}")
    return 0


def _lines(arguments: argparse.Namespace) -> Iterator[str]:
    """What to send: lines of the input, or phrases for ever; at most --messages."""
    if arguments.input is None:
        lines = (f"{_PHRASES[n % len(_PHRASES)]} ({n + 1})" for n in count())
    else:
        try:
            text = arguments.input.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise NoiseError(f"{arguments.input} cannot be read: {error.strerror}", code="bad-input") from None
        lines = (line for line in text.splitlines() if line)
    yield from (line for line, _ in zip(lines, range(arguments.messages or sys.maxsize), strict=False))


async def _demo(arguments: argparse.Namespace, data: Path, lines: Iterator[str], board: Board) -> None:
    provider = data / "provider"
    if not provider.exists():
        await create_node(provider)
    options = ServeOptions(
        provider, "127.0.0.1", 0, arguments.topology, None, None, EPOCH_MS, _DEMO_IDLE_MS, HEARTBEAT_MS
    )
    stop, quit_early = trio.Event(), trio.Event()
    ready_send, ready_receive = trio.open_memory_channel[tuple[str, bytes]](1)
    async with trio.open_nursery() as nursery, open_node(options) as node:

        async def serve() -> None:
            await serve_node(node, options, lambda url, origin: ready_send.send_nowait((url, origin)), stop)

        nursery.start_soon(_watch_signals, quit_early)
        async with trio.open_nursery() as serving:
            serving.start_soon(serve)
            node.pipeline.fanout.on_shown = lambda epoch: _count_epoch(board, epoch.n_messages, epoch.n_deliveries)
            url, origin = await ready_receive.receive()
            async with trio.open_nursery() as talking:
                talking.start_soon(_show, board, url, talking.cancel_scope, quit_early)
                await _talk(arguments, data, url, format_id(origin), lines, board)
                talking.cancel_scope.cancel()
            stop.set()
        nursery.cancel_scope.cancel()


def _count_epoch(board: Board, n_messages: int, n_deliveries: int) -> None:
    board.epochs += 1
    board.sequenced += n_messages
    board.pushed += n_deliveries


async def _watch_signals(quit_early: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            quit_early.set()


async def _show(board: Board, url: str, scope: trio.CancelScope, quit_early: trio.Event) -> None:
    """Keep the picture fresh on a terminal, or print a line a second elsewhere; end the talk when asked to."""
    console = Console()
    if not console.is_terminal:
        print(f"provider at {url}", flush=True)
        while not quit_early.is_set():
            with trio.move_on_after(_PRINT_S):
                await quit_early.wait()
            print(board.summary(), flush=True)
        scope.cancel()
        return
    with Live(board.render(url), console=console, refresh_per_second=10) as live:
        try:
            while not quit_early.is_set():
                live.update(board.render(url))
                with trio.move_on_after(_REFRESH_S):
                    await quit_early.wait()
        finally:
            live.update(board.render(url))
    scope.cancel()


async def _talk(
    arguments: argparse.Namespace, data: Path, url: str, origin: str, lines: Iterator[str], board: Board
) -> None:
    """Open the clients, send in turn from each to all, and wait until all have verified everything."""
    async with trio.open_nursery() as nursery:
        ready_send, ready_receive = trio.open_memory_channel[tuple[str, Client]](0)
        for name in board.names:
            device = data / f"{name}.device"
            if not device.exists():
                await trio.to_thread.run_sync(create_device_file, device)
            nursery.start_soon(_run_client, name, str(device), url, origin, board, ready_send.clone())
        clients = dict([await ready_receive.receive() for _ in board.names])
        everyone = [client.device_id for client in clients.values()]
        async with trio.open_nursery() as sending:
            for n, line in enumerate(lines):
                name = board.names[n % len(board.names)]
                sending.start_soon(_send, clients[name], everyone, f"{name}: {line}", board)
                await trio.sleep(1 / arguments.rate if arguments.rate else 0)
        while min(board.verified.values()) < board.sent:
            await trio.sleep(_REFRESH_S / 10)
        nursery.cancel_scope.cancel()


async def _run_client(
    name: str,
    device: str,
    url: str,
    origin: str,
    board: Board,
    ready: "trio.MemorySendChannel[tuple[str, Client]]",
) -> None:
    async with open_client(url, device, origin=origin) as client, trio.open_nursery() as nursery:
        nursery.start_soon(_watch_states, name, client, board)
        await ready.send((name, client))
        async for delivery in client.deliveries():
            sent_at = board.sent_at.get(delivery.data)
            if sent_at is None:
                continue  # of an earlier demo in this directory
            board.verified[name] += 1
            board.latencies.append(time.perf_counter() - sent_at)
            text = delivery.data.decode("utf-8", "replace").partition("\0")[2]
            board.last.append(f"{name} verified epoch {delivery.epoch}: {text}")


async def _watch_states(name: str, client: Client, board: Board) -> None:
    async for state in client.states():
        board.states[name] = state.value


async def _send(client: Client, everyone: list[bytes], text: str, board: Board) -> None:
    board.sent += 1
    data = f"{time.time_ns()}-{board.sent}\0{text}".encode()
    board.sent_at[data] = time.perf_counter()
    await client.send(everyone, data, deadline_s=60)
    board.receipts += 1
