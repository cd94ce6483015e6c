"""Make a new provider: its keys and an empty log.

This is the only command that creates state. Prints the provider's origin: the name by which clients pin it, and all
that a stranger needs to verify evidence against it. Keep DIR/keys safe and backed up; see docs/operations.md.
"""

import argparse
from pathlib import Path

import trio

from noise.node import create_node
from noise.protocol.identifiers import format_id


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where to make it; must be new")


def run(arguments: argparse.Namespace) -> int:
    origin = trio.run(create_node, arguments.data)
    print(f"origin={format_id(origin)}")
    return 0
