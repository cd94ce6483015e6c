"""One honest device of a world, without tasks or links: what it stores, follows, sends and tells its peers.

Knows nothing of the world or of time. What a process would lose at its end is lost in `open`; all else is as if on
disk. The part that keeps evidence and talks to peers is the SDK's own `Witness`, over the SDK's own store in memory.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from noise.protocol.delta import Delivery, Delta, RecipientLists
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.follower import Follower, new_lists
from noise.protocol.frames import (
    ACK_BODY,
    RECEIPT,
    AckBody,
    AckFrame,
    Cursor,
    DeltaFrame,
    Frame,
    Receipt,
    ReceiptFrame,
    RefusalFrame,
)
from noise.protocol.gossip import CONTENT_FRAMES, ViewFrame, encode_gossip, parse_gossip
from noise.protocol.identifiers import device_id_of
from noise.protocol.signing import Signer
from noise.protocol.trust import NOTHING, Trusted, encode_trusted, parse_trusted
from noise_client.device import Device
from noise_client.kept_history import gained_by
from noise_client.retention import Cumulative, Layered, Policy, Stability, Window
from noise_client.sending import RETRIED_CODES
from noise_client.trust_store_memory import MemoryTrustStore
from noise_client.verdicts import FINE, Judgement
from noise_client.witness import Witness

PLAIN, WITH_VIEWS = b"\x00", b"\x01"
PATIENT: Sequence[Policy] = (Window(), Stability(), Layered())
"""Policies that keep what a world is about, for as long as anybody may still ask for it."""

POLICIES: Sequence[Policy] = (*PATIENT, Window(3), Cumulative(), Layered(Window(2)))


class Seen(NamedTuple):
    """A delta that a device verified, and what it trusted after it."""

    mailbox: bytes
    delta: Delta
    trusted: Trusted
    deliveries: Sequence[Delivery]


class SimDevice:
    """`seen` and `deliveries` are for those who judge in the end; the device itself has its store and nothing else."""

    def __init__(
        self, name: str, private_key: bytes, origin: bytes, rng: random.Random, policies: Sequence[Policy] = POLICIES
    ) -> None:
        self.name = name
        self.signer = Signer(private_key)
        self.origin = origin
        self.device_id = device_id_of(self.signer.public_key)
        self.rng = rng
        self.policy = rng.choice(policies)
        self.store = MemoryTrustStore(Device(private_key))
        self.seen: list[Seen] = []
        self.deliveries: list[Delivery] = []
        self.pending: list[int] = []
        self.sent: list[Bundle] = []
        self.receipts: dict[int, tuple[Receipt, list[bytes]]] = {}
        self.next_ctr = 0
        self.final_refusals: list[str] = []
        self.complaints: list[str] = []
        """What only a world notices."""
        self.judgements: list[Judgement] = []
        """Other than that all is well."""
        self.misbehaviour: ProviderMisbehaved | None = None
        self.open()

    def open(self) -> None:
        """A new process: it has what was stored."""
        stored = self.store.load().trusted
        trusted = parse_trusted(stored) if stored else NOTHING
        self.follower = Follower(self.origin, self.device_id, trusted, last_counter=self.store.last_counter)
        self._lists = RecipientLists()
        self.witness = Witness(self.store, self.device_id, self.origin, trusted, self.policy, time_ms=lambda: 0)

    def begin_link(self) -> Cursor:
        """A new connection, from this cursor."""
        self._lists = RecipientLists()
        return self.follower.cursor

    def take(self, frame: Frame) -> None:
        """A frame of the provider. Raises ProviderMisbehaved."""
        if isinstance(frame, DeltaFrame):
            self._take_delta(frame.delta)
        elif isinstance(frame, ReceiptFrame):
            self._take_receipt(frame.request, frame.receipt)
        elif isinstance(frame, RefusalFrame) and frame.code not in RETRIED_CODES:
            self.final_refusals.append(frame.code)
            self.pending = [number for number in self.pending if number != frame.request]
        self._note_judgement()

    def _note_judgement(self) -> None:
        judgement = self.witness.judgement
        if judgement != FINE and judgement not in self.judgements[-1:]:
            self.judgements.append(judgement)

    def _take_delta(self, delta: Delta) -> None:
        before = self.follower.trusted
        try:
            step = self.follower.check_delta(delta, self._lists)
        except ProviderMisbehaved as error:
            self.misbehaviour = error
            self.witness.note_refusal(delta, self._lists, error.detail)
            raise
        self.seen.append(Seen(self.device_id, delta, step.trusted, step.deliveries))
        self.deliveries += step.deliveries
        if step.trusted != before:
            gained = gained_by(before, step, delta)
            self.store.save_step(self.origin, encode_trusted(step.trusted), step.counters, (), gained)
            self.follower.adopt(step)
            self.witness.note_step(step.trusted, gained)
        self._lists.admit(new_lists(delta))
        for delivery in step.deliveries:
            if delivery.common[:1] == WITH_VIEWS and delivery.sender != self.device_id:
                self.witness.hear_view(delivery.sender, unwrap(delivery.ciphertext))
        if self.rng.random() < 0.3:
            self.witness.prune()

    def _take_receipt(self, request: int, receipt: Receipt) -> None:
        bundle = self.sent[request]
        seqs = self.follower.check_receipt(receipt, bundle)
        known = self.receipts.setdefault(request, (receipt, seqs))
        if RECEIPT.encode(known[0]) != RECEIPT.encode(receipt):
            self.complaints.append("two receipts for one bundle")
        self.witness.note_receipt(bundle, receipt)
        self.pending = [number for number in self.pending if number != request]

    def write(self, drafts: Sequence[Draft]) -> Bundle:
        """A bundle that will be sent until it is answered."""
        bundle = build_bundle(self.signer, self.origin, self.next_ctr, drafts)
        self.next_ctr += bundle.count
        self.pending.append(len(self.sent))
        self.sent.append(bundle)
        return bundle

    def draft(self, recipients: Recipients, size: int) -> Draft:
        """A message of random content. Every second one has ciphertexts, and every second of these carries views."""
        rng, ids = self.rng, recipients.device_ids
        kind = rng.choice((None, None, PLAIN, WITH_VIEWS))
        ciphertexts: tuple[bytes, ...] = ()
        if kind == PLAIN:
            ciphertexts = tuple(rng.randbytes(40) for _ in ids)
        elif kind == WITH_VIEWS:
            ciphertexts = wrap([b"" if i == self.device_id else self.witness.encoded_view(i) for i in ids])
        return Draft(recipients, (kind or PLAIN) + rng.randbytes(size), ciphertexts, rng.randrange(2**40))

    def ack(self) -> AckFrame | None:
        """Its word for what it has stored."""
        cursor = self.follower.cursor
        if not cursor.hist_next:
            return None
        body = AckBody(self.origin, self.device_id, self.signer.public_key, cursor.log_size - 1, cursor.hist_next)
        return AckFrame(*self.signer.sign("ack", self.origin, ACK_BODY.encode(body)))

    def greet(self, peer: bytes) -> bytes:
        """What to tell a peer unasked."""
        return encode_gossip(ViewFrame(self.witness.view(peer)))

    def take_gossip(self, peer: bytes, data: bytes) -> None:
        """A peer's word over the carrier. What makes no sense is the peer's own."""
        try:
            self.witness.hear(peer, parse_gossip(data, CONTENT_FRAMES))
        except NoiseError:
            return
        finally:
            self._note_judgement()

    def take_outgoing(self) -> list[tuple[bytes, bytes]]:
        """(peer, what to tell it): answers and questions."""
        return [(peer, encode_gossip(frame)) for peer, frame in self.witness.take_outgoing()]

    @property
    def proofs(self) -> list[bytes]:
        """What it holds against the provider."""
        return [kept.proof for kept in self.store.proofs()]


def wrap(said: Sequence[bytes]) -> tuple[bytes, ...]:
    """Words as ciphertexts, equally long. Sealing is no part of a world."""
    longest = max(map(len, said))
    return tuple(len(one).to_bytes(2, "big") + one.ljust(longest, b"\0") for one in said)


def unwrap(ciphertext: bytes) -> bytes:
    """What was wrapped; of anything else, something."""
    return ciphertext[2 : 2 + int.from_bytes(ciphertext[:2], "big")]


def recipients_of(salt: bytes, ids: Sequence[bytes]) -> Recipients:
    return Recipients(RecipientSet(salt, tuple(sorted(set(ids)))))
