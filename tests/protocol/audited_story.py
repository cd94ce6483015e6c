"""Three epochs of a small provider, of which the second is lied about, and their audit.

Knows nothing of what an auditor has to find.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from noise.protocol.auditor import AuditFailed, Auditor
from noise.protocol.envelope import Bundle
from noise.protocol.statements import EPOCH_HEAD, MANIFEST, MERGE_SHEET, ROUTE_SHEET
from tests.protocol.audited import TRUTH, Audited, Lie, Turn, make_signed_roster
from tests.vectors.cast import ORIGIN, bundle_of, device_of, draft_of, recipients_of

LANES = (0, 3)  # as they are after the second inbox was recovered twice
NAMES = ("alice", "bob", "carol", "dave")
ALICE, BOB, CAROL, DAVE = map(device_of, NAMES)
BODIES: dict[str, Any] = {
    "manifests": MANIFEST,
    "routes": ROUTE_SHEET,
    "merges": MERGE_SHEET,
    "heads": EPOCH_HEAD,
}


def letter(sender: str, first_ctr: int, *texts: bytes, to: Sequence[str], own: int = 0) -> Bundle:
    recipients = recipients_of(*{sender, *to})
    return bundle_of(sender, [draft_of(recipients, text, own) for text in texts], first_ctr)


def make_story(lie: Lie = TRUTH) -> tuple[Audited, list[Turn]]:
    """Three epochs, of which the second is lied about."""
    provider = Audited(make_signed_roster(lanes=LANES, n_outboxes=2))
    first = [[letter("alice", 1, b"one", b"two", to=NAMES, own=8)], [letter("bob", 1, b"three", to=NAMES)]]
    second = [
        [letter("alice", 3, b"four", b"five", to=("bob",), own=8), letter("carol", 1, b"six", to=NAMES, own=4)],
        [letter("bob", 2, b"seven", b"eight", to=("alice", "dave"))],
    ]
    return provider, [provider.commit(first), provider.commit(second, lie), provider.commit([[], []])]


def audit(provider: Audited, turns: Sequence[Turn]) -> Auditor:
    auditor = Auditor(ORIGIN, provider.rosters)
    for turn in turns:
        auditor.check_epoch(*turn)
    auditor.check_checkpoint(provider.note)
    return auditor


def accused_by(provider: Audited, turns: Sequence[Turn]) -> AuditFailed:
    with pytest.raises(AuditFailed) as caught:
        audit(provider, turns)
    assert str(caught.value).startswith(f"epoch {caught.value.epoch}, {caught.value.actor}: ")
    return caught.value
