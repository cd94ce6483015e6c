"""Run a provider until SIGTERM or SIGINT.

Prints one line, `ready url=http://HOST:PORT origin=ORIGIN`, when it can serve. On a signal it takes nothing more,
commits and delivers what it accepted, and exits 0. Inboxes, outboxes and intervals may change from run to run: that
signs a new roster, for which keys/root.pem must be there. It may be kept elsewhere otherwise.

example: noise serve --data ./provider --bind 127.0.0.1:8080 --topology parallel --inboxes 2 --outboxes 2
"""

import argparse
import gc
import logging
import os
import resource
import signal
import sys
from pathlib import Path

import trio

from noise.cli.options import parse_id_option
from noise.config import (
    BIND,
    CHALLENGE_EPOCHS,
    CUSTODY_EPOCHS,
    EPOCH_MS,
    HEARTBEAT_MS,
    IDLE_MS,
    MAILBOXES_MAX,
    ServeOptions,
    parse_bind,
)
from noise.demo.plain import make_plain_page
from noise.node import check_honest, open_node, serve_node
from noise.pipeline.topology import NAMES
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import format_id

_SWITCH_INTERVAL_S = 0.0005  # else the store's thread waits 5 ms for its turn after every statement
_GC_THRESHOLDS = (50_000, 50, 100)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a provider made by noise init")
    parser.add_argument(
        "--bind", default=BIND, metavar="HOST:PORT", help="default %(default)s; port 0 takes a free one"
    )
    parser.add_argument("--topology", choices=NAMES, default="parallel", help="default %(default)s")
    parser.add_argument("--inboxes", type=int, metavar="N", help="default: as many as before, 1 at first")
    parser.add_argument("--outboxes", type=int, metavar="M", help="default: as many as before, 1 at first")
    parser.add_argument(
        "--public-host",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="a name in the URLs of clients, as often as there are; then proofs for other hosts are refused (relays)",
    )
    parser.add_argument(
        "--mailboxes-max",
        type=int,
        default=MAILBOXES_MAX,
        metavar="N",
        help="refuse messages that would make more mailboxes, of some 2 KiB memory each; default %(default)s",
    )
    parser.add_argument(
        "--auditor",
        action="append",
        type=parse_id_option,
        default=[],
        metavar="ID",
        help="a key that noise audit --make-key made: its holder may see who received what, and no content; repeatable",
    )
    for flag, what, at_first in (
        ("--epoch-ms", "shortest epoch under load", EPOCH_MS),
        ("--idle-ms", "longest epoch when idle", IDLE_MS),
        ("--heartbeat-ms", "longest silence towards a client", HEARTBEAT_MS),
    ):
        parser.add_argument(flag, type=int, metavar="MS", help=f"{what}; default: as before, {at_first} at first")
    for flag, what, at_first in (
        ("--custody-epochs", "for how many epochs actors can answer for what they did", CUSTODY_EPOCHS),
        ("--challenge-epochs", "how many epochs they may take to answer a challenge", CHALLENGE_EPOCHS),
    ):
        parser.add_argument(flag, type=int, metavar="N", help=f"{what}; default: as before, {at_first} at first")
    parser.add_argument(
        "--demo", action="store_true", help="also show the browser client at / to whoever comes; it cannot make it lie"
    )


def options_from(arguments: argparse.Namespace) -> ServeOptions:
    """Raises NoiseError."""
    host, port = parse_bind(arguments.bind)
    return ServeOptions(
        arguments.data,
        host,
        port,
        arguments.topology,
        arguments.inboxes,
        arguments.outboxes,
        arguments.epoch_ms,
        arguments.idle_ms,
        arguments.heartbeat_ms,
        tuple(arguments.public_host),
        arguments.mailboxes_max,
        arguments.custody_epochs,
        arguments.challenge_epochs,
        auditors=tuple(arguments.auditor),
    )


def run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    options = options_from(arguments)
    check_honest(options.data)
    os.umask(0o077)
    _allow_connections()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.disable()  # until all that was stored is loaded: none of it is garbage
    try:
        trio.run(_serve, options, arguments.demo)
    except* NoiseError as group:
        raise first_error(group) from None
    return 0


def first_error(group: ExceptionGroup[NoiseError]) -> NoiseError:
    """The one to tell a person of a group that holds nothing else."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, ExceptionGroup) else error


def _allow_connections() -> None:
    """Raise the soft limit of open files, one for each connection, to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(options: ServeOptions, has_page: bool) -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, stop)
        async with open_node(options) as node:
            await serve_node(node, options, _on_ready, stop, [make_plain_page(node)] if has_page else [])
        nursery.cancel_scope.cancel()


def _on_ready(url: str, origin: bytes) -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.enable()
    print(f"ready url={url} origin={format_id(origin)}", flush=True)


async def _stop_on_signal(stop: trio.Event, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            print(f"{signal.Signals(number).name}: stopping, a second one stops at once", file=sys.stderr)
            if stop.is_set():
                raise NoiseError("stopped by a second signal; nothing that was acknowledged is lost", code="stopped")
            stop.set()
