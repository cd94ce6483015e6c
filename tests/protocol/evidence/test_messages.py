"""Conflict, AlteredMessage, CounterViolation and Misdelivery: each lie convicts, and nothing honest does."""

from functools import cache
from typing import Any

import pytest

from noise.protocol.envelope import (
    BUNDLE_HEADER,
    ENVELOPE,
    Bundle,
    Envelope,
    Recipients,
    hash_bundle,
    hash_envelope,
)
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.messages import AlteredMessage, Conflict, CounterViolation, Misdelivery
from noise.protocol.evidence.openings import CommittedLeaf, LeafOpening
from noise.protocol.identifiers import make_seq
from noise.protocol.merkle import prove_subset, tree_root
from noise.protocol.statements import MESSAGE_LEAF, MessageLeaf, message_leaves
from tests.protocol.evidence.exhibits import (
    STORY,
    Exhibit,
    Scribe,
    acquits,
    change_leaf,
    convicts,
    judge,
    recipient,
    sequence,
    tell,
    tell_leaves,
)
from tests.protocol.liar import Told
from tests.protocol.story import ALICE, BOB, DAVE, LAST, letter
from tests.vectors.cast import OTHER_ORIGIN, bundle_of, device_of, draft_of, recipients_of, signer_of

CAROL = device_of("carol")
OTHER = tree_root([bytes(32)])


@cache
def honest() -> Scribe:
    """Not to be changed."""
    return tell()


def bundle_at(epoch: int, number: int) -> Bundle:
    return STORY[epoch][number]


def bob_with(*leaves: bytes) -> Exhibit:
    """What came for bob in the last epoch is this instead."""
    told = tell_leaves(honest().told[BOB].upto(3), LAST, leaves)
    return Exhibit(honest(), BOB, told=told, leaves={3: leaves})


def truth(place: int) -> bytes:
    return honest().sequenced[LAST][place]


# Conflict


FIELDS: dict[str, dict[str, Any]] = {
    "sender": {"sender": CAROL},
    "sender_ctr": {"sender_ctr": 9},
    "env_hash": {"env_hash": OTHER},
    "bundle_hash": {"bundle_hash": OTHER},
    "n_recipients": {"n_recipients": 3},
    "recipients_root": {"recipients_root": OTHER},
    "payload_hash": {"payload_hash": OTHER},
    "ciphertexts_root": {"ciphertexts_root": OTHER},
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_conflict_in_any_field(field: str) -> None:
    lie = change_leaf(truth(0), **FIELDS[field])
    told = bob_with(lie, *honest().sequenced[LAST][1:]).delivered(3, 0)
    other = sequence(honest(), LAST, 0, [lie, *honest().sequenced[LAST][1:]])
    words = f"they differ in {field}"
    for one in (sequence(honest(), LAST, 0), Exhibit(honest(), ALICE).delivered(3, 0)):
        convicts(honest(), Conflict(one, told), "provider", LAST, words)
        convicts(honest(), Conflict(told, one), "provider", LAST, words)
        convicts(honest(), Conflict(one, other), "provider", LAST, words)


def test_a_conflict_names_all_fields() -> None:
    lie = MESSAGE_LEAF.encode(MESSAGE_LEAF.decode(truth(2))._replace(seq=make_seq(LAST, 0, 0)))
    verdict = convicts(honest(), Conflict(sequence(honest(), LAST, 0), bob_with(lie).delivered(3, 0)), "provider", LAST)
    assert "sender, sender_ctr, env_hash, bundle_hash, recipients_root" in verdict.detail


def honest_messages() -> list[CommittedLeaf]:
    found = [
        sequence(honest(), epoch, place) for epoch in (0, 2, 4, 5) for place in range(len(honest().sequenced[epoch]))
    ]
    for mailbox in (ALICE, BOB, CAROL):
        exhibit = Exhibit(honest(), mailbox)
        for k, leaves in enumerate(honest().received[mailbox].values()):
            found += [exhibit.delivered(k, place) for place in range(len(leaves))]
    return found


def test_honest_messages_make_no_conflict_and_keep_their_counters() -> None:
    messages = honest_messages()
    assert len(messages) == 8 + 6 + 8 + 3
    for one in messages:
        for other in messages:
            acquits(honest(), Conflict(one, other))
            acquits(honest(), CounterViolation(one, other))


def test_a_message_is_committed_to_in_one_way() -> None:
    one, other = sequence(honest(), LAST, 0), Exhibit(honest(), BOB).delivered(3, 0)
    for wrong in (CommittedLeaf(None, None), CommittedLeaf(one.sequenced, other.delivered)):
        with pytest.raises(DecodeError):
            judge(honest(), Conflict(wrong, other))


def test_a_lie_that_is_not_committed_to_is_the_framers() -> None:
    """A changed leaf beside the true proof, under other places and counts."""
    exhibit = Exhibit(honest(), BOB)
    good, truth_there = exhibit.leaf(3, 0), sequence(honest(), LAST, 0)
    lie = change_leaf(truth(0), payload_hash=OTHER)
    record = good.record
    for changed in (
        good._replace(leaf=lie),
        good._replace(place=1),
        good._replace(place=2**32 - 1),
        good._replace(leaf=lie, proof=good.proof[:-1]),
        good._replace(proof=()),
        good._replace(proof=(*good.proof, bytes(32))),
        good._replace(record=record._replace(place=2)),
        good._replace(record=record._replace(place=2**64 - 1)),
        good._replace(record=record._replace(record=exhibit.record(2).record)),
        good._replace(record=record._replace(state=Exhibit(honest(), BOB, 4).state)),
        good._replace(record=record._replace(state=Exhibit(honest(), ALICE).state)),
        good._replace(record=record._replace(state=record.state._replace(mailbox=ALICE))),
        good._replace(record=record._replace(state=record.state._replace(mailbox=DAVE, state=b"", path=()))),
        Exhibit(honest(), CAROL).leaf(1, 0),
    ):
        acquits(honest(), Conflict(truth_there, CommittedLeaf(None, changed)))


# AlteredMessage


def envelope_of(bundle: Bundle, i: int) -> Envelope:
    members, row = bundle.recipients[bundle.rows[i].set_index], bundle.rows[i]
    n = len(members.device_ids)
    return Envelope(
        bundle.sender,
        bundle.first_ctr + i,
        members.root,
        n,
        row.common_len,
        bundle.payload_hashes[i],
        n if row.ciphertext_len else 0,
        bundle.ciphertexts_roots[i],
        row.created_ms,
    )


def with_envelope(message: CommittedLeaf, envelope: bytes) -> AlteredMessage:
    return AlteredMessage(message, envelope, b"", (), (), ())


def with_header(message: CommittedLeaf, header: bytes, bundle: Bundle | None = None, *places: int) -> AlteredMessage:
    """`places`: which envelopes of the bundle are shown; none: all."""
    if bundle is None:
        return AlteredMessage(message, b"", header, (), (), ())
    chosen = places or tuple(range(bundle.count))
    shown = tuple(bundle.env_hashes[i] for i in chosen)
    return AlteredMessage(message, b"", header, chosen, shown, tuple(prove_subset(bundle.tree(), chosen)))


@pytest.mark.parametrize("field", sorted(set(Envelope._fields) & set(MessageLeaf._fields)))
def test_a_message_that_is_not_what_its_envelope_says(field: str) -> None:
    bundle = bundle_at(LAST, 0)
    envelope = ENVELOPE.encode(envelope_of(bundle, 0))
    assert hash_envelope(envelope) == bundle.env_hashes[0]
    lie = change_leaf(truth(0), **FIELDS[field])
    finding = with_envelope(bob_with(lie).delivered(3, 0), envelope)
    convicts(honest(), finding, "provider", LAST, f"its own envelope has another {field}")
    sequenced = sequence(honest(), LAST, 0, [lie])
    convicts(honest(), finding._replace(message=sequenced), "inbox-0-0", LAST, field)


HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "for another provider": ({"origin": OTHER_ORIGIN}, "another provider"),
    "of another sender": ({"sender": BOB}, "another sender's"),
    "with another key": ({"key": signer_of("bob").public_key}, "not its sender's"),
    "with later counters": ({"first_ctr": 5}, "no message with counter 4"),
    "with earlier counters": ({"first_ctr": 2}, "no message with counter 4"),
    "with fewer messages": ({"n_envelopes": 0}, "no message with counter 4"),
    "beyond all counters": ({"first_ctr": 2**64 - 1}, "no message with counter 4"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_message_that_is_not_of_its_bundle(name: str) -> None:
    changes, words = HEADERS[name]
    header = BUNDLE_HEADER.encode(BUNDLE_HEADER.decode(bundle_at(LAST, 0).body)._replace(**changes))
    lie = change_leaf(truth(0), bundle_hash=hash_bundle(header))
    convicts(honest(), with_header(bob_with(lie).delivered(3, 0), header), "provider", LAST, words)
    convicts(honest(), with_header(sequence(honest(), LAST, 0, [lie]), header), "inbox-0-0", LAST, words)


def test_a_message_whose_envelope_is_not_in_its_bundle() -> None:
    bundle = bundle_at(LAST, 0)
    lie = change_leaf(truth(1), env_hash=OTHER)
    message = bob_with(truth(0), lie).delivered(3, 1)
    for places in ((), (1,), (0, 1)):
        finding = with_header(message, bundle.body, bundle, *places)
        convicts(honest(), finding, "provider", LAST, "another envelope with counter 5")
    acquits(honest(), with_header(message, bundle.body, bundle, 0), "not shown")
    good = with_header(message, bundle.body, bundle)
    for changed in (
        good._replace(places=(1, 0)),
        good._replace(places=(0, 0)),
        good._replace(places=(0, 2)),
        good._replace(places=(0,)),
        good._replace(places=()),
        good._replace(places=(), env_hashes=(), proof=()),
        good._replace(places=(2**16 - 1,), env_hashes=good.env_hashes[:1]),
        good._replace(env_hashes=good.env_hashes[::-1]),
        good._replace(env_hashes=(OTHER, OTHER)),
        good._replace(proof=(OTHER,)),
        good._replace(header=b""),
        good._replace(header=bundle_at(LAST, 1).body),
    ):
        acquits(honest(), changed)


def test_honest_messages_are_not_altered() -> None:
    for epoch, bundles in enumerate(STORY):
        place = 0
        for bundle in bundles:
            for i in range(bundle.count):
                message = sequence(honest(), epoch, place)
                place += 1
                acquits(honest(), with_envelope(message, ENVELOPE.encode(envelope_of(bundle, i))), "as its envelope")
                acquits(honest(), with_header(message, bundle.body))
                acquits(honest(), with_header(message, bundle.body, bundle))
                acquits(honest(), with_header(message, bundle.body, bundle, i))
                for other in bundles:
                    if other is not bundle:
                        acquits(honest(), with_header(message, other.body, other), "another message")
                        acquits(honest(), with_envelope(message, ENVELOPE.encode(envelope_of(other, 0))), "another")


def test_a_bundle_that_starts_in_the_middle_of_the_counters() -> None:
    """Message i of a bundle has counter first_ctr + i, and not i."""
    scribe = Scribe()
    members = recipients_of("alice", "bob")
    bundle = bundle_of("alice", [draft_of(members, b"%d" % i) for i in range(5)], first_ctr=3)
    scribe.commit(bundle)
    for place in range(5):
        acquits(scribe, with_header(sequence(scribe, 0, place), bundle.body, bundle), "has this message's envelope")
        for other in range(5):
            finding = with_header(sequence(scribe, 0, place), bundle.body, bundle, other)
            acquits(scribe, finding)


# CounterViolation


def test_a_counter_twice_and_counters_that_go_back() -> None:
    for ctr in (4, 3, 0):
        lie = change_leaf(truth(1), sender_ctr=ctr)
        sequenced = sequence(honest(), LAST, 1, [truth(0), lie])
        words = f"which comes later, has counter {ctr}"
        convicts(honest(), CounterViolation(sequence(honest(), LAST, 0), sequenced), "inbox-0-0", LAST, words)
        convicts(honest(), CounterViolation(sequenced, sequence(honest(), LAST, 0)), "inbox-0-0", LAST, words)
        delivered = bob_with(truth(0), lie)
        finding = CounterViolation(delivered.delivered(3, 0), delivered.delivered(3, 1))
        convicts(honest(), finding, "provider", LAST, words)


def test_a_counter_of_an_earlier_epoch() -> None:
    lie = change_leaf(truth(0), sender_ctr=3)
    earlier = sequence(honest(), 2, 1)
    convicts(honest(), CounterViolation(bob_with(lie).delivered(3, 0), earlier), "provider", LAST)


def test_counters_of_two_senders_are_not_compared() -> None:
    lie = change_leaf(truth(0), sender=BOB, sender_ctr=2)
    acquits(honest(), CounterViolation(bob_with(lie).delivered(3, 0), sequence(honest(), LAST, 1)), "two senders")


def test_one_position_is_a_conflict_and_no_matter_of_counters() -> None:
    lie = change_leaf(truth(0), sender_ctr=9)
    acquits(honest(), CounterViolation(bob_with(lie).delivered(3, 0), sequence(honest(), LAST, 0)), "as the positions")


# Misdelivery


NAMES = ("alice", "bob", "carol", "dave", "erin")


def misdelivered(mailbox: bytes, *names: str) -> tuple[LeafOpening, Recipients]:
    """A mailbox with a message of alice for others, and who they are."""
    message = letter("alice", 9, b"not for you", to=names)
    leaves = message_leaves(message, [make_seq(LAST, 0, 0)])
    before = honest().epochs[4].told.get(mailbox, Told(mailbox))
    k = len(before.entries)
    exhibit = Exhibit(honest(), mailbox, told=tell_leaves(before, LAST, leaves), leaves={k: leaves})
    return exhibit.leaf(k, 0), message.recipients[0]


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_message_for_others(name: str) -> None:
    """Whether the mailbox's own id is below, between or beyond theirs."""
    mailbox = device_of(name)
    others = [other for other in NAMES[1:] if other != name]
    for names in (("alice",), *(("alice", other) for other in others), ("alice", *others)):
        leaf, members = misdelivered(mailbox, *names)
        below = [i for i in members.device_ids if i < mailbox]
        above = [i for i in members.device_ids if i > mailbox]
        around = [*below[-1:], *above[:1]]
        finding = Misdelivery(leaf, tuple(recipient(members, i) for i in around))
        convicts(honest(), finding, "provider", LAST, f"not among its {len(names)} recipients")
        for i in members.device_ids:
            if i not in around:
                acquits(honest(), finding._replace(recipients=(recipient(members, i),)))
        if len(around) == 2:
            one, other = finding.recipients
            for wrong in ((one,), (other,), (other, one), (one, one), (other, other)):
                acquits(honest(), finding._replace(recipients=wrong))


def test_the_misdelivered_stand_on_all_sides() -> None:
    tested = sorted(map(device_of, NAMES[1:]))
    assert tested[0] < ALICE < tested[-1]


def test_a_message_for_nobody() -> None:
    lie = change_leaf(truth(0), n_recipients=0)
    convicts(honest(), Misdelivery(bob_with(lie).leaf(3, 0), ()), "provider", LAST)


def test_nobody_is_misdelivered_what_is_for_them() -> None:
    """Every opening and every pair of them, for every mailbox that received a message."""
    scribe = Scribe()
    members = recipients_of(*NAMES)
    scribe.commit(bundle_of("alice", [draft_of(members, b"to all"), draft_of(recipients_of("alice"), b"to me")]))
    openings = [recipient(members, i) for i in members.device_ids]
    alone = recipient(recipients_of("alice"), ALICE)
    for name in NAMES:
        exhibit = Exhibit(scribe, device_of(name))
        message = exhibit.leaf(0, 0)
        acquits(scribe, Misdelivery(message, ()))
        for one in openings:
            acquits(scribe, Misdelivery(message, (one,)))
            for other in openings:
                acquits(scribe, Misdelivery(message, (one, other)))
                moved = other._replace(place=(one.place + 1) % len(openings))
                acquits(scribe, Misdelivery(message, (one, moved)))
    acquits(scribe, Misdelivery(Exhibit(scribe, ALICE).leaf(0, 1), (alone,)))


def test_recipients_are_counted_by_the_message() -> None:
    """What proves recipient 4 of 5 also proves one of another place in lists of other lengths."""
    scribe = Scribe()
    members = recipients_of(*NAMES)
    scribe.commit(bundle_of("alice", [draft_of(members, b"to all")]))
    last = recipient(members, members.device_ids[-1])
    mailbox = members.device_ids[2]
    message = Exhibit(scribe, mailbox).leaf(0, 0)
    for place in (0, 1, 2, 3, 8, 2**16 - 1):
        acquits(scribe, Misdelivery(message, (last._replace(place=place),)))
