"""What the storage options cost: `python -m tests.storage`. It is not part of the tests.

Follows a story with real device files, once for each retention policy, for pairs and for groups of ten, and prints what
a file keeps for each message: before anybody has compared anything, and after everybody has.

Knows nothing of how that is measured.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.storage.measuring import GROUPS, POLICIES, Measurement, measure

_EPILOG = """\
columns, each before | after all recipients have compared their chains with ours:
  kept      messages of the whole story that can still be shown to others
  evidence  bytes of history records, message leaves and recipient lists, for each further message
  file      bytes of the device file's pages in use, for each further message: with keys, indexes and checkpoints

examples:
  python -m tests.storage                  some ten seconds
  python -m tests.storage --per-epoch 1    the most that a message costs: a record of its own"""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.storage",
        description=(__doc__ or "").strip(),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--epochs", type=_count, default=80, metavar="N", help="in each half; default %(default)s")
    parser.add_argument("--per-epoch", type=_count, default=4, metavar="N", help="messages; default %(default)s")
    return parser.parse_args()


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 256")
    return number


def describe(one: Measurement) -> str:
    """A line of the table."""
    return (
        f"{one.policy:22} {one.group:12}"
        f" {one.n_kept_before:6} | {one.n_kept_after:5}"
        f" {one.evidence_before:9.0f} | {one.evidence_after:5.0f}"
        f" {one.file_before:9.0f} | {one.file_after:5.0f}"
    )


def main() -> int:
    arguments = parse_arguments()
    total = 2 * arguments.epochs * arguments.per_epoch
    print(f"{total} messages, {arguments.per_epoch} in an epoch; bytes for each message, before | after comparing")
    print(f"{'policy':22} {'recipients':12} {'kept':>14} {'evidence':>17} {'file':>17}")
    for group in GROUPS:
        for policy in POLICIES:
            with tempfile.TemporaryDirectory() as directory:
                one = measure(Path(directory), policy, group, arguments.epochs, arguments.per_epoch)
            print(describe(one), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
