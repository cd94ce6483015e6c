"""Who sends what to whom: devices in groups, and their bundles, signed and encoded before any clock runs.

Knows nothing of connections. Everyone of a group receives whatever anyone of it sends, so that all of a group must see
the same messages in the same order. The same device keys every time; payloads are random bytes.
"""

import hashlib
import os
import time
from typing import NamedTuple

from noise.protocol.envelope import Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.frames import BundleFrame, encode_frame
from noise.protocol.identifiers import device_id_of
from noise.protocol.signing import Signer
from tests.load.wire import encode_message

CIPHERTEXT_BYTES = 120


class Content(NamedTuple):
    """What messages are made of. `is_sealed`: each recipient gets a ciphertext of its own as well."""

    payload_bytes: int
    is_sealed: bool


class Stocked(NamedTuple):
    """A bundle ready to go: one WebSocket frame, that ends with the `bundle_bytes` bytes of the bundle."""

    request: int
    first_ctr: int
    n_messages: int
    frame: bytes
    bundle_bytes: int


class Device:
    """One mailbox. `next_ctr`, `next_request`: of the next bundle that is made for it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.signer = Signer(hashlib.sha256(f"load test device {number}".encode()).digest())
        self.key = self.signer.public_key
        self.device_id = device_id_of(self.key)
        self.next_ctr = 0
        self.next_request = 0

    def make_bundles(
        self, origin: bytes, recipients: Recipients, content: Content, count: int, n_bundles: int
    ) -> list[Stocked]:
        """The next `n_bundles` of `count` messages each. Does not move the counters: see `pass_over`."""
        made = []
        for i in range(n_bundles):
            drafts = _drafts(recipients, content, count)
            first_ctr, request = self.next_ctr + i * count, self.next_request + i
            bundle = build_bundle(self.signer, origin, first_ctr, drafts).encode()
            frame = encode_message(encode_frame(BundleFrame(request, bundle)))
            made.append(Stocked(request, first_ctr, count, frame, len(bundle)))
        return made

    def pass_over(self, stocked: Stocked) -> None:
        """A bundle leaves."""
        self.next_ctr = stocked.first_ctr + stocked.n_messages
        self.next_request = stocked.request + 1


def _drafts(recipients: Recipients, content: Content, count: int) -> list[Draft]:
    now_ms = time.time_ns() // 1_000_000
    size, members = content.payload_bytes, len(recipients.device_ids)
    common = os.urandom(size * count)
    sealed = os.urandom(CIPHERTEXT_BYTES * members * count) if content.is_sealed else b""
    drafts = []
    for i in range(count):
        own = sealed[i * CIPHERTEXT_BYTES * members : (i + 1) * CIPHERTEXT_BYTES * members]
        ciphertexts = tuple(own[j : j + CIPHERTEXT_BYTES] for j in range(0, len(own), CIPHERTEXT_BYTES))
        drafts.append(Draft(recipients, common[i * size : (i + 1) * size], ciphertexts, now_ms))
    return drafts


def recipients_of(device_ids: list[bytes]) -> Recipients:
    """One set, with a salt that follows from it, as a sender keeps one for each set."""
    ordered = tuple(sorted(device_ids))
    return Recipients(RecipientSet(hashlib.sha256(b"".join(ordered)).digest()[:16], ordered))


def strangers(own_id: bytes, count: int) -> Recipients:
    """`count` ids that nobody is connected for, and the sender's own."""
    return recipients_of([own_id, *(os.urandom(32) for _ in range(count))])
