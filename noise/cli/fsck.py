"""Check a stopped provider's state: every hash, tree, chain and signature, from the stored bytes.

Changes no state. Exit status 0: all is as it was signed. 1: it is not, or cannot be read; the message names the first
epoch that is wrong and what to do.
"""

import argparse
from pathlib import Path

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from noise.node import check_node
from noise.pipeline.fsck import Counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the provider's directory")
    parser.add_argument(
        "--renew-mark",
        action="store_true",
        help="if all is well, make keys/high-water anew: for an operator who is sure that this state is the newest",
    )


def run(arguments: argparse.Namespace) -> int:
    counts = trio.run(_check, arguments.data, arguments.renew_mark)
    print(
        f"clean: {counts.epochs} epochs, {counts.messages} messages, {counts.deliveries} deliveries, "
        f"{counts.signatures} signatures"
    )
    return 0


async def _check(data: Path, renew_mark: bool) -> Counts:
    columns = (TextColumn("checking epochs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("epochs", total=None)

        def on_epoch(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return await check_node(data, on_epoch, renew_mark=renew_mark)
