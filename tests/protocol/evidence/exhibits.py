"""Openings of whatever a liar signs, and the stranger who is shown them.

Knows nothing of any particular lie.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from noise.protocol.delta import HistoryEntry, SignedRoster
from noise.protocol.envelope import Bundle, Recipients, recipient_leaf_hashes
from noise.protocol.envelope import _hash_salt as hash_salt
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.absences import Absence
from noise.protocol.evidence.openings import (
    CommittedLeaf,
    HeadOpening,
    LeafOpening,
    LogOpening,
    PlacedLeaf,
    RecipientOpening,
    RecordOpening,
    SequencedLeaf,
    StateOpening,
)
from noise.protocol.evidence.proof import KINDS, PROOF, Finding, NotProven, Proof, Verdict, verify_proof
from noise.protocol.frames import SignedManifest
from noise.protocol.history import HISTORY_RECORD, apply_record, new_history, next_record
from noise.protocol.identifiers import Actor, Role, make_seqs
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hash, leaf_hashes
from noise.protocol.signing import Signer
from noise.protocol.statements import MANIFEST, MESSAGE_LEAF, Manifest, hash_roster, message_leaves
from tests.protocol.liar import TRUTH, Liar, Lie, Told, indexes_of
from tests.protocol.story import LAST, letter
from tests.vectors.cast import NO_PREVIOUS, ORIGIN, actor_key

INBOX = Actor(Role.INBOX, 0, 0)


class Scribe(Liar):
    """A liar that remembers what it sequenced: the leaves of each epoch, and those that each mailbox received."""

    def __init__(self, n_outboxes: int = 1) -> None:
        super().__init__(n_outboxes)
        self.sequenced: list[list[bytes]] = []
        self.received: dict[bytes, dict[int, list[bytes]]] = {}

    def commit(self, *bundles: Bundle) -> int:
        number = super().commit(*bundles)
        leaves: list[bytes] = []
        for bundle in bundles:
            made = message_leaves(bundle, make_seqs(number, 0, len(leaves), bundle.count))
            leaves += made
            for mailbox in {i for members in bundle.recipients for i in members.device_ids}:
                own = [made[i] for i in indexes_of(bundle, mailbox) or range(bundle.count)]
                self.received.setdefault(mailbox, {}).setdefault(number, []).extend(own)
        self.sequenced.append(leaves)
        return number


def tell(n_outboxes: int = 1, n_epochs: int = LAST + 1) -> Scribe:
    """The epochs of `tests.protocol.story`. Something arrives for bob in 0, 2, 4 and 5, for dave never."""
    scribe = Scribe(n_outboxes)
    for bundles in STORY[:n_epochs]:
        scribe.commit(*bundles)
    return scribe


STORY: list[list[Bundle]] = [
    [letter("alice", 1, b"one", b"two", own=8)],
    [],
    [letter("carol", 1, b"three", to=("bob", "carol")), letter("alice", 3, b"four", to=("alice", "bob", "carol"))],
    [],
    [letter("bob", 1, b"five", own=16)],
    [letter("alice", 4, b"six", b"seven", own=8), letter("carol", 2, b"eight", to=("bob", "carol"))],
]


class Exhibit:
    """What a liar would show of one mailbox as of one epoch, lies and all.

    `told`: the mailbox's history, if it is not the true one. `leaves`: what its records delivered, by k, where that is
    not what was received.
    """

    def __init__(
        self,
        scribe: Scribe,
        mailbox: bytes,
        number: int = -1,
        *,
        told: Told | None = None,
        leaves: dict[int, Sequence[bytes]] | None = None,
        **lie: Any,
    ) -> None:
        number %= len(scribe.epochs)
        self._told = told or scribe.epochs[number].told.get(mailbox) or Told(mailbox)
        signed = Lie(**lie) if lie else TRUTH
        delta = scribe.delta(mailbox, number=number, told=told, lie=signed)
        before = scribe.leaves[:number] if signed.leaves is None else signed.leaves
        log = Tree([*before, leaf_hash(delta.shared.record)])
        self.note = delta.shared.note
        self.log = LogOpening(self.note, number, delta.shared.record, tuple(log.inclusion(log.size - 1)))
        self.head = HeadOpening(self.log, delta.shared.head, delta.shared.head_proof)
        self.state = StateOpening(self.head, mailbox, delta.state, delta.path, delta.other)
        received = scribe.received.get(mailbox, {})
        self._leaves: dict[int, Sequence[bytes]] = dict(enumerate(received.values())) | (leaves or {})

    def record(self, k: int) -> RecordOpening:
        k %= len(self._told.entries)
        proof = Tree(self._told.leaf_hashes).inclusion(k)
        return RecordOpening(self.state, k, self._told.entries[k].record, tuple(proof))

    def placed(self, k: int, place: int) -> PlacedLeaf:
        leaves = self._leaves[k % len(self._told.entries)]
        place %= len(leaves)
        return PlacedLeaf(place, leaves[place], tuple(Tree(leaf_hashes(leaves)).inclusion(place)))

    def leaf(self, k: int, place: int) -> LeafOpening:
        return LeafOpening(self.record(k), *self.placed(k, place))

    def delivered(self, k: int, place: int) -> CommittedLeaf:
        return CommittedLeaf(None, self.leaf(k, place))

    def gap(self, k: int) -> Absence:
        return Absence(None, self.record(k), None, None)

    def between(self, k: int, before: int | None, after: int | None) -> Absence:
        places = [None if place is None else self.placed(k, place) for place in (before, after)]
        return Absence(None, self.record(k), *places)

    def idle(self) -> Absence:
        return Absence(self.state, None, None, None)


def manifest_of(
    leaves: Sequence[bytes], epoch: int, signer: Signer | None = None, inbox: Actor = INBOX, /, **changes: Any
) -> SignedManifest:
    """An inbox's manifest over these leaves; `changes` are to its fields."""
    root = Tree(leaf_hashes(leaves)).root
    manifest = Manifest(ORIGIN, inbox.encode(), 0, epoch, inbox.number, len(leaves), root, NO_PREVIOUS)
    body = MANIFEST.encode(manifest._replace(**changes))
    return SignedManifest(*(signer or actor_key(inbox)).sign("manifest", ORIGIN, body))


def sequence(
    scribe: Scribe,
    epoch: int,
    place: int,
    leaves: Sequence[bytes] | None = None,
    /,
    *,
    first_pos: int = 0,
    count: int | None = None,
    roster: int = 0,
    signer: Signer | None = None,
    **changes: Any,
) -> CommittedLeaf:
    """Message `first_pos + place` of a lane, in a run of `count` (all that follow). `roster`: by number."""
    leaves = scribe.sequenced[epoch] if leaves is None else leaves
    end = len(leaves) if count is None else first_pos + count
    hashes = leaf_hashes(leaves)
    return CommittedLeaf(
        SequencedLeaf(
            manifest_of(leaves, epoch, signer, **changes),
            hash_roster(scribe.rosters[roster].body),
            first_pos,
            tuple(hashes[first_pos:end]),
            place,
            leaves[first_pos + place],
            tuple(Tree(hashes).prove_subset(first_pos, end)),
        ),
        None,
    )


def recipient(members: Recipients, device_id: bytes) -> RecipientOpening:
    """The opening of one recipient, at its place."""
    place = members.device_ids.index(device_id)
    tree = Tree(recipient_leaf_hashes(members.env_salt, members.device_ids))
    return RecipientOpening(
        device_id, hash_salt(members.env_salt + device_id)[:16], place, tuple(tree.inclusion(place))
    )


def tell_leaves(told: Told, epoch: int, leaves: Sequence[bytes], /, **changes: Any) -> Told:
    """The history with one more record, of these leaves, whatever bytes they are. `changes` are to its fields."""
    before = told.histories[-1] if told.histories else new_history(told.mailbox, epoch)
    record = next_record(before, epoch, len(leaves), Tree(leaf_hashes(leaves)).root, (0, EMPTY_ROOT))
    return tell_bytes(told, HISTORY_RECORD.encode(record._replace(**changes)), leaves[-1][2:18] if leaves else b"")


def tell_bytes(told: Told, body: bytes, last_seq: bytes = b"", epoch: int = 0) -> Told:
    """The history with one more record, whatever bytes it is."""
    before = told.histories[-1] if told.histories else new_history(told.mailbox, epoch)
    try:
        record = HISTORY_RECORD.decode(body)
    except DecodeError:
        record = next_record(before, before.state.last_epoch + 1, 1, EMPTY_ROOT, (0, EMPTY_ROOT))
    after = apply_record(before, record, body, last_seq or before.state.last_seq)
    return told._replace(entries=(*told.entries, HistoryEntry(body, ())), histories=(*told.histories, after))


def change_leaf(encoded: bytes, **changes: Any) -> bytes:
    return MESSAGE_LEAF.encode(MESSAGE_LEAF.decode(encoded)._replace(**changes))


def rosters_of(scribe: Liar) -> tuple[SignedRoster, ...]:
    return tuple(SignedRoster(*signed) for signed in scribe.rosters)


def file_of(scribe: Liar, finding: Finding, kind: str = "", rosters: Sequence[SignedRoster] | None = None) -> bytes:
    """A proof file as anybody can write it, right or wrong."""
    name = kind or type(finding).__name__
    given = rosters_of(scribe) if rosters is None else tuple(rosters)
    return PROOF.encode(Proof(ORIGIN, given, name, KINDS[name].codec.encode(finding)))


def judge(scribe: Liar, finding: Finding, rosters: Sequence[SignedRoster] | None = None) -> Verdict:
    return verify_proof(file_of(scribe, finding, rosters=rosters), {ORIGIN})


def convicts(scribe: Liar, finding: Finding, accused: str, epoch: int, words: str = "") -> Verdict:
    verdict = judge(scribe, finding)
    assert (verdict.kind, verdict.accused, verdict.origin, verdict.epoch) == (
        type(finding).__name__,
        accused,
        ORIGIN,
        epoch,
    ), verdict
    assert words in verdict.detail, verdict
    return verdict


def acquits(scribe: Liar, finding: Finding, words: str = "", rosters: Sequence[SignedRoster] | None = None) -> None:
    with pytest.raises(NotProven) as caught:
        judge(scribe, finding, rosters)
    assert words in caught.value.detail, caught.value
