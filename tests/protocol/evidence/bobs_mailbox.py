"""Bob's mailbox in an honest story: as it was signed, or with his state changed and signed anew.

Knows nothing of what any test changes.
"""

from functools import cache
from typing import Any

from noise.protocol.history import MAILBOX_STATE
from noise.protocol.merkle import tree_root
from tests.protocol.evidence.exhibits import Exhibit, Scribe, tell
from tests.protocol.liar import Told
from tests.protocol.story import BOB, LAST
from tests.vectors.cast import device_of

CAROL = device_of("carol")
OTHER = tree_root([bytes(32)])
OUTBOX = "outbox-0-0"


@cache
def honest() -> Scribe:
    """Not to be changed."""
    return tell()


def told(k: int) -> Told:
    return honest().told[BOB].upto(k)


def bob(number: int = LAST, **how: Any) -> Exhibit:
    return Exhibit(honest(), BOB, number, **how)


def state_of(exhibit: Exhibit, **changes: Any) -> Exhibit:
    """The same epoch, with bob's state changed in some fields and signed anew."""
    state = MAILBOX_STATE.decode(exhibit.state.state)._replace(**changes)
    return bob(exhibit.log.place, state=state)
