"""A server that says what sheets and custody cost it: `noise serve`, with a clock around all that they added.

Knows nothing of load. Called once an epoch each, the clocks cost nothing to speak of. What an outbox no longer hashes,
because the router did, is not taken off.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noise.cli import main
from noise.pipeline import outbox, receiver, router, sequencer
from noise.pipeline.slots import Slots
from noise.store.custody_sqlite import SqliteCustody

_SPENT: Counter[str] = Counter()


def _clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose processor time, in whatever thread, is added up under a name."""

    def clocked(*arguments: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            _SPENT[name] += time.thread_time() - began

    return clocked


def _clock(owner: Any, attribute: str, name: str) -> None:
    setattr(owner, attribute, _clocked(name, getattr(owner, attribute)))


def _clock_signatures() -> None:
    """Of the two new statements of an epoch."""
    sign, clocked = Slots.sign, _clocked("sign", Slots.sign)

    def choose(self: Slots, epoch: int, body: bytes) -> Any:
        return (clocked if self.label in {"route", "merge"} else sign)(self, epoch, body)

    setattr(Slots, "sign", choose)  # noqa: B010 (a method of a class with slots)


def install() -> None:
    """Around every function that is there for sheets and custody alone."""
    for owner, attribute, name in (
        (router.Router, "check", "router checks"),
        (router, "hash_entries", "router hashes"),
        (router, "encode_router_batch", "custody"),
        (receiver, "items_of", "receiver hashes"),
        (receiver.Receiver, "check", "receiver checks"),
        (receiver, "encode_receiver_batch", "custody"),
        (outbox.Outbox, "check", "outbox checks"),
        (outbox, "encode_parts", "custody"),
        (sequencer.Sequencer, "check", "sequencer checks"),
        (SqliteCustody, "_keep", "custody"),
    ):
        _clock(owner, attribute, name)
    _clock_signatures()


def serve(report: Path, arguments: list[str]) -> int:
    """`noise` with these arguments; afterwards its exit status. Writes seconds, by name, to `report`."""
    install()
    try:
        return main(arguments)
    finally:
        report.write_text(json.dumps({"process_s": time.process_time(), "sheets_s": dict(_SPENT)}), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), sys.argv[2:]))
