"""Audit a provider: replay what every stage made of its input, and compare with what it signed.

With --data a stopped provider's own state, with --server a running one over the network: its operator names auditors
(noise serve --auditor=ID), who see who received what in which epoch, and no content. What is signed is believed only as
far as the origin's name goes.

Exit status 0: clean. 1: an output is not what its input makes; the message names the epoch and the actor whose own
signature says so, or the provider. 2: wrong usage, or something cannot be read.

example:
  noise audit --make-key auditor.pem
  noise audit --server https://noise.example --origin ID --key auditor.pem
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from noise.cli.audit_http import open_audit_http
from noise.cli.options import parse_id_option
from noise.keys import KeyRing
from noise.node import open_state
from noise.pipeline.audit import audit_store
from noise.protocol.auditor import AuditCounts, AuditFailed, Auditor
from noise.protocol.checkpoint import parse_checkpoint
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import device_id_of, format_id
from noise.protocol.signing import Signer

OnEpoch = Callable[[int, int], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="DIR", help="a provider that is not running")
    source.add_argument("--server", metavar="URL", help="one that is; needs --origin and --key")
    source.add_argument("--make-key", type=Path, metavar="FILE", help="make an auditor's key, and print its id")
    parser.add_argument("--origin", type=parse_id_option, metavar="ID", help="the provider that it has to be")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the auditor's key")
    parser.add_argument("--next-epoch", type=int, metavar="N", help="end before this epoch; default: the newest one")


def run(arguments: argparse.Namespace) -> int:
    try:
        if arguments.make_key is not None:
            directory, name = _key_place(arguments.make_key)
            print(format_id(device_id_of(KeyRing(directory).create(name).public_key)))
            return 0
        counts = trio.run(_audit, arguments)
    except AuditFailed as error:
        print(f"NOT CLEAN: {error.detail}", file=sys.stderr)
        return 1
    except NoiseError as error:
        print(f"noise audit: {error}", file=sys.stderr)
        return 2
    print(
        f"clean: {counts.epochs} epochs, {counts.messages} messages, {counts.deliveries} deliveries, "
        f"{counts.signatures} signatures"
    )
    return 0


def _key_place(path: Path) -> tuple[Path, str]:
    """(directory, name) of a key file."""
    if path.suffix != ".pem":
        raise NoiseError(f"a key file is named something.pem, and not {path.name}", code="bad-option")
    return path.parent, path.stem


async def _audit(arguments: argparse.Namespace) -> AuditCounts:
    next_epoch: int | None = arguments.next_epoch
    if next_epoch is not None and next_epoch < 0:
        raise NoiseError("--next-epoch is a number of epochs", code="bad-option")
    columns = (TextColumn("auditing epochs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("epochs", total=None)

        def on_epoch(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if arguments.data is not None:
            return await audit_data(arguments.data, next_epoch, on_epoch)
        if arguments.origin is None or arguments.key is None:
            raise NoiseError("--server needs --origin and --key", code="bad-option")
        directory, name = _key_place(arguments.key)
        signer = KeyRing(directory).load(name)
        return await audit_server(arguments.server, arguments.origin, signer, next_epoch, on_epoch)


async def audit_data(data: Path, next_epoch: int | None, on_epoch: OnEpoch) -> AuditCounts:
    """Audit a provider that nobody serves: all its epochs, or those before `next_epoch`. Raises NoiseError."""
    async with open_state(data) as state:
        total = state.store.next_epoch if next_epoch is None else min(next_epoch, state.store.next_epoch)
        return await audit_store(state.store, state.origin, state.rosters, total, lambda done: on_epoch(done, total))


async def audit_server(
    url: str, origin: bytes, signer: Signer, next_epoch: int | None, on_epoch: OnEpoch
) -> AuditCounts:
    """Audit a running provider up to its newest checkpoint, or the epochs before `next_epoch`. Raises NoiseError."""
    async with open_audit_http(url, origin, signer) as http:
        note = await http.checkpoint()
        size = parse_checkpoint(note)[0].size
        auditor = Auditor(origin, await http.rosters())
        total = size if next_epoch is None else min(next_epoch, size)
        for epoch in range(total):
            auditor.check_epoch(await http.statements(epoch), await http.page(epoch))
            on_epoch(epoch + 1, total)
        if total == size:
            auditor.check_checkpoint(note)
        return auditor.counts
