"""Receipts: an inbox's word for the places of a bundle, and everything that is not quite that.

Knows nothing of deltas. Honest receipts come from a real pipeline, lies from the cast, who hold their keys.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from noise.protocol.envelope import Bundle
from noise.protocol.errors import DecodeError, ProviderMisbehaved
from noise.protocol.follower import Follower
from noise.protocol.frames import RECEIPT, Receipt, SignedManifest
from noise.protocol.identifiers import Actor, Role, make_seq, make_seqs, parse_seq
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hashes
from noise.protocol.receipts import open_receipt
from noise.protocol.signing import SIGNED, Signed, Signer
from noise.protocol.statements import MANIFEST, Manifest, Roster, hash_roster, message_leaves
from noise.protocol.trust import Trusted
from tests.pipeline.recording import Promise, record
from tests.protocol.mutations import mutations
from tests.protocol.story import letter
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, actor_key, make_roster, sign_roster, signer_of

EPOCH, LANE = 7, 1
INBOX, OTHER_INBOX = Actor(Role.INBOX, 0, LANE), Actor(Role.INBOX, 0, 0)
BUNDLES = [letter("alice", 1, b"a", b"b", b"c"), letter("bob", 1, b"d"), letter("alice", 4, b"e", b"f", own=8)]


def follower(trusted: Trusted) -> Follower:
    return Follower(record().origin, bytes(32), trusted, last_counter=lambda _: None)


def refuse(one: Follower, receipt: Receipt, bundle: Bundle, code: str | None = None) -> None:
    with pytest.raises(ProviderMisbehaved) as caught:
        one.check_receipt(receipt, bundle)
    assert code is None or caught.value.code == code, caught.value
    assert caught.value.evidence == (SIGNED.encode(Signed(*receipt.manifest)), bundle.body)


def test_honest_receipts() -> None:
    """Each is right at the time, and later too; and it says where the messages then are."""
    promises = record().promises
    last = record().moments["the last page"].trusted
    delivered = {
        delivery.leaf: delivery.seq
        for moment in record().moments.values()
        for delivery in moment.check(moment.delta).deliveries
    }
    assert len({parse_seq(promise.receipt.first_seq)[1] for promise in promises}) == 2
    n_found = 0
    for trusted, bundle, receipt in promises:
        seqs = follower(last).check_receipt(receipt, bundle)
        assert seqs == follower(trusted).check_receipt(receipt, bundle)
        assert (seqs[0], len(seqs)) == (receipt.first_seq, bundle.count)
        n_found += len(set(seqs) & set(delivered.values()))
        assert set(message_leaves(bundle, seqs)) & set(delivered)
    early = record().moments["first contact"]  # what it brings was sent before
    assert n_found == len(delivered) - len(early.check(early.delta).deliveries)


@pytest.mark.parametrize("number", [0, 1, -1])
def test_nothing_can_be_changed(number: int) -> None:
    promise: Promise = record().promises[number]
    one = follower(record().moments["the last page"].trusted)
    others = [other.receipt for other in record().promises if other is not promise] + [
        record(1).promises[number].receipt
    ]
    n_refused = 0
    for mutation in mutations(RECEIPT, promise.receipt, others):
        try:
            changed = RECEIPT.decode(RECEIPT.encode(mutation.value))
        except DecodeError:
            continue
        refuse(one, changed, promise.bundle)
        n_refused += 1
    assert n_refused > 60
    for other in record().promises:
        if other.bundle is not promise.bundle:
            refuse(one, promise.receipt, other.bundle)


def make_receipt(
    bundles: Sequence[Bundle] = BUNDLES,
    index: int = 0,
    *,
    first_pos: int | None = None,
    seq: bytes | None = None,
    signer: Signer | None = None,
    label: str = "manifest",
    **changes: Any,
) -> Receipt:
    """Of one of a lane's bundles; `changes` are to the manifest's fields. It is signed in any case."""
    leaves: list[bytes] = []
    for bundle in bundles:
        leaves += leaf_hashes(message_leaves(bundle, make_seqs(EPOCH, LANE, len(leaves), bundle.count)))
    tree = Tree(leaves)
    place = sum(bundle.count for bundle in bundles[:index])
    body = Manifest(ORIGIN, INBOX.encode(), 0, EPOCH, LANE, tree.size, tree.root, bytes(32))._replace(**changes)
    signed = (signer or actor_key(INBOX)).sign(label, ORIGIN, MANIFEST.encode(body))
    proof = tree.prove_subset(place, place + bundles[index].count)
    first_seq = seq or make_seq(EPOCH, LANE, place if first_pos is None else first_pos)
    return Receipt(SignedManifest(*signed), first_seq, tuple(proof))


def with_rosters(*rosters: Roster) -> Follower:
    signed = tuple(sign_roster(roster) for roster in rosters)
    trusted = record().moments["first contact"].trusted._replace(rosters=signed)
    return Follower(ORIGIN, bytes(32), trusted, last_counter=lambda _: None)


ROSTER = make_roster(2, 1)


def test_receipts_of_the_cast() -> None:
    for index, bundle in enumerate(BUNDLES):
        first = sum(b.count for b in BUNDLES[:index])
        seqs = make_seqs(EPOCH, LANE, first, bundle.count)
        assert with_rosters(ROSTER).check_receipt(make_receipt(index=index), bundle) == seqs
        assert open_receipt(make_receipt(index=index), bundle, ORIGIN, [ROSTER]) == seqs


LIES: dict[str, tuple[str, dict[str, Any]]] = {
    "another lane's manifest": ("wrong-manifest", {"lane": 0}),
    "another epoch's manifest": ("wrong-manifest", {"epoch": EPOCH - 1}),
    "another provider's manifest": ("wrong-manifest", {"origin": OTHER_ORIGIN}),
    "another inbox's manifest": ("wrong-manifest", {"actor": OTHER_INBOX.encode()}),
    "an outbox's manifest": ("wrong-manifest", {"actor": Actor(Role.OUTBOX, 0, 0).encode()}),
    "another incarnation": ("wrong-incarnation", {"incarnation": 1}),
    "another inbox's signature": ("bad-signature", {"signer": actor_key(OTHER_INBOX)}),
    "the root's signature": ("bad-signature", {"signer": signer_of("root")}),
    "signed as something else": ("bad-signature", {"label": "head"}),
    "fewer messages": ("wrong-manifest", {"n_messages": 2}),
    "no messages": ("wrong-manifest", {"n_messages": 0, "root": EMPTY_ROOT}),
    "more messages": ("bad-proof", {"n_messages": 17}),
    "another tree": ("bad-receipt", {"root": bytes(32)}),
    "one position on": ("bad-receipt", {"first_pos": 1}),
    "the last positions": ("bad-receipt", {"first_pos": 3}),
    "positions beyond the end": ("wrong-manifest", {"first_pos": 4}),
    "another lane's positions": ("wrong-manifest", {"seq": make_seq(EPOCH, 0, 0)}),
    "a lane that there is not": ("wrong-manifest", {"seq": make_seq(EPOCH, 2, 0), "lane": 2}),
    "another epoch's positions": ("wrong-manifest", {"seq": make_seq(EPOCH + 1, LANE, 0)}),
}


@pytest.mark.parametrize("name", LIES)
def test_signed_lies(name: str) -> None:
    code, changes = LIES[name]
    refuse(with_rosters(ROSTER), make_receipt(**changes), BUNDLES[0], code)


def test_another_bundle() -> None:
    """Of the same sender and counters, or of the same content: a receipt is for one bundle."""
    one = with_rosters(ROSTER)
    for other in (letter("alice", 1, b"a", b"b", b"C"), letter("alice", 2, b"a", b"b", b"c"), BUNDLES[2]):
        refuse(one, make_receipt(), other)
    refuse(one, make_receipt(index=2), BUNDLES[0])
    longer = letter("alice", 1, *[b"x"] * 7)
    refuse(one, make_receipt(), longer, "wrong-manifest")


def test_the_roster_of_the_epoch() -> None:
    """A receipt is checked against the roster that was in force in its epoch, not before and not after."""
    signed = sign_roster(ROSTER)
    fewer = make_roster(1, 1, 2, hash_roster(signed.body))
    for valid_from_epoch, code in ((EPOCH + 1, None), (EPOCH, "wrong-manifest"), (EPOCH - 1, "wrong-manifest")):
        one = with_rosters(ROSTER, fewer._replace(valid_from_epoch=valid_from_epoch))
        if code is None:
            assert one.check_receipt(make_receipt(), BUNDLES[0])
        else:
            refuse(one, make_receipt(), BUNDLES[0], code)
    for ignorant in (with_rosters(ROSTER._replace(valid_from_epoch=EPOCH + 1)), with_rosters()):
        with pytest.raises(DecodeError) as caught:  # what a client does not know says nothing about its provider
            ignorant.check_receipt(make_receipt(), BUNDLES[0])
        assert caught.value.code == "no-roster"
