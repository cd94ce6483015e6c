"""Make a new provider: its keys and an empty log.

This is the only command that creates state. Prints the provider's origin: the name by which clients pin it, and all
that a stranger needs to verify evidence against it. Keep DIR/keys safe and backed up; see docs/operations.md.

With --apart each actor has its key, and what it keeps to answer for itself, in DIR/actors/ACTOR: these may lie on disks
of their own, and one that is lost takes no other with it.
"""

import argparse
from functools import partial
from pathlib import Path

import trio

from noise.node import create_node
from noise.protocol.identifiers import format_id


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where to make it; must be new")
    parser.add_argument("--apart", action="store_true", help="give each actor a directory of its own")


def run(arguments: argparse.Namespace) -> int:
    origin = trio.run(partial(create_node, arguments.data, apart=arguments.apart))
    print(f"origin={format_id(origin)}")
    return 0
