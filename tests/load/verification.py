"""Nothing counts that was not verified: followers over all frames of all mailboxes, and what they must agree on.

Knows nothing of time. A mailbox's follower verifies what a client verifies: signatures, log, state, history, counters.
Beyond that, every message that was sent must have been delivered to each of its recipients exactly once, and all of
them must have got the same messages at the same positions.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from noise.protocol import checkpoint, signing
from noise.protocol.delta import Delivery, Delta, RecipientLists
from noise.protocol.envelope import open_bundle
from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.follower import Follower, new_lists
from noise.protocol.frames import DeltaFrame, Receipt, parse_frame

_SIGNATURES_REMEMBERED = 1 << 16


def remember_signatures() -> None:
    """From now on this process verifies the same signature of the same bytes once: every mailbox's frames of an epoch
    bring the same checkpoint, head and bundles. Not for what is verified live."""
    signing.verify_raw = checkpoint.verify_raw = lru_cache(_SIGNATURES_REMEMBERED)(signing.verify_raw)


class Client:
    """A client that verifies all that it gets."""

    def __init__(self, origin: bytes, device_id: bytes) -> None:
        self._counters: dict[bytes, int] = {}
        self._lists = RecipientLists()
        self._follower = Follower(origin, device_id, last_counter=self._counters.get)

    def follow(self, delta: Delta) -> list[Delivery]:
        """Raises ProviderMisbehaved."""
        step = self._follower.check_delta(delta, self._lists)
        self._follower.adopt(step)
        self._counters.update(step.counters)
        self._lists.admit(new_lists(delta))
        return step.deliveries

    def check_receipt(self, receipt: Receipt, bundle: bytes) -> None:
        """`bundle`: encoded. Raises ProviderMisbehaved."""
        self._follower.check_receipt(receipt, open_bundle(bundle, self._follower.origin))


class Verdict(NamedTuple):
    """What a follower made of one mailbox's frames. `order`: over all verified messages, with their positions.

    `senders`: for each sender (how many messages, lowest counter, highest counter). `complaint`: empty if all is well.
    """

    n_deliveries: int
    order: bytes
    senders: dict[bytes, tuple[int, int, int]]
    complaint: str


def verify_mailbox(origin: bytes, device_id: bytes, frames: Sequence[bytes]) -> Verdict:
    """Follow a mailbox through all delta frames that its connection got, in order."""
    client = Client(origin, device_id)
    order = hashlib.sha256()
    senders: dict[bytes, tuple[int, int, int]] = {}
    n_deliveries = 0
    complaint = ""
    for number, payload in enumerate(frames):
        try:
            frame = parse_frame(payload, {DeltaFrame})
            deliveries = client.follow(frame.delta)
        except (NoiseError, ProviderMisbehaved) as error:
            complaint = f"frame {number}: {error}"
            break
        n_deliveries += len(deliveries)
        for delivery in deliveries:
            order.update(delivery.leaf)
            ctr = delivery.sender_ctr
            n, lowest, highest = senders.get(delivery.sender, (0, ctr, ctr))
            senders[delivery.sender] = (n + 1, min(lowest, ctr), max(highest, ctr))
    return Verdict(n_deliveries, order.digest(), senders, complaint)


def compare(
    groups: Sequence[Sequence[int]], ids: Sequence[bytes], sent: Sequence[int], counted: Sequence[int], v: list[Verdict]
) -> list[str]:
    """What does not agree: at best nothing.

    By device number: `ids`, how many messages each `sent`, how many deliveries were `counted` live, and its verdict.
    """
    complaints = []
    for group in groups:
        wanted = {ids[i]: (sent[i], 0, sent[i] - 1) for i in group if sent[i]}
        for i in group:
            if v[i].complaint:
                complaints.append(f"mailbox {i}: {v[i].complaint}")
            elif v[i].senders != wanted:
                wrong = [
                    ids.index(s) for s in wanted.keys() | v[i].senders.keys() if wanted.get(s) != v[i].senders.get(s)
                ]
                complaints.append(f"mailbox {i} did not get exactly what was sent by devices {sorted(wrong)[:8]}")
            elif v[i].n_deliveries != counted[i]:
                complaints.append(f"mailbox {i}: {counted[i]} deliveries were counted, {v[i].n_deliveries} verified")
            elif v[i].order != v[group[0]].order:
                complaints.append(f"mailboxes {i} and {group[0]} got the same messages in different orders")
    return complaints
