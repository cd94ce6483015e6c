"""Omission: every form of absence convicts when it is a lie, and nobody can make one up about an honest provider."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from noise.protocol.errors import DecodeError
from noise.protocol.evidence.absences import Absence
from noise.protocol.evidence.messages import Omission
from noise.protocol.evidence.openings import CommittedLeaf, PlacedLeaf
from noise.protocol.identifiers import NO_EPOCH, make_seq
from noise.protocol.merkle import EMPTY_ROOT
from tests.protocol.evidence.exhibits import (
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
from tests.vectors.cast import device_of, recipients_of

CAROL = device_of("carol")
EIGHT = recipients_of("bob", "carol")  # who gets the message at 5/0/2
SIX = recipients_of("alice", "bob")  # those at 5/0/0 and 5/0/1, and at 4/0/0


@cache
def honest() -> Scribe:
    """Not to be changed."""
    return tell()


def bob_upto(k: int) -> Told:
    return honest().told[BOB].upto(k)


def bob_without(*places: int) -> Exhibit:
    """The last epoch with some of its three messages missing in bob's mailbox."""
    leaves = [leaf for place, leaf in enumerate(honest().sequenced[LAST]) if place not in places]
    return Exhibit(honest(), BOB, told=tell_leaves(bob_upto(3), LAST, leaves), leaves={3: leaves})


ABSENCES: dict[str, tuple[int, int, Callable[[], Absence], str]] = {
    "idle tail": (LAST, 2, lambda: Exhibit(honest(), BOB, told=bob_upto(3)).idle(), "since epoch 4"),
    "in-delta, the last is missing": (LAST, 2, lambda: bob_without(2).between(3, -1, None), "goes without it"),
    "in-delta, the first is missing": (LAST, 0, lambda: bob_without(0).between(3, None, 0), "goes without it"),
    "in-delta, in the middle": (LAST, 1, lambda: bob_without(1).between(3, 0, 1), "goes without it"),
    "no mailbox": (LAST, 2, lambda: Exhibit(honest(), BOB, state=b"").idle(), "no such mailbox"),
    "gap": (
        4,
        0,
        lambda: Exhibit(honest(), BOB, told=tell_leaves(bob_upto(2), LAST, honest().sequenced[LAST])).gap(2),
        "nothing had since epoch 2",
    ),
    "gap before all": (
        0,
        0,
        lambda: Exhibit(honest(), BOB, told=tell_leaves(Told(BOB), 4, honest().sequenced[4])).gap(0),
        "nothing had ever",
    ),
}


def omission(epoch: int, pos: int, absence: Absence, device_id: bytes = BOB) -> Omission:
    members = EIGHT if (epoch, pos) == (LAST, 2) else SIX
    return Omission(sequence(honest(), epoch, pos), recipient(members, device_id), absence)


@pytest.mark.parametrize("name", ABSENCES)
def test_a_receipt_that_is_not_honoured(name: str) -> None:
    epoch, pos, absence, words = ABSENCES[name]
    convicts(honest(), omission(epoch, pos, absence()), "provider", epoch, words)


@pytest.mark.parametrize("name", ABSENCES)
def test_what_another_recipient_received(name: str) -> None:
    epoch, pos, absence, words = ABSENCES[name]
    sender = {2: CAROL}.get(pos, ALICE)
    received = honest().received[sender]
    k = list(received).index(epoch)
    place = received[epoch].index(honest().sequenced[epoch][pos])
    message = Exhibit(honest(), sender).delivered(k, place)
    finding = omission(epoch, pos, absence())._replace(message=message)
    convicts(honest(), finding, "provider", epoch, words)


def test_later_states_convict_as_well() -> None:
    """The absence is shown as of an epoch long after the message."""
    told = bob_upto(2)
    convicts(honest(), omission(4, 0, Exhibit(honest(), BOB, told=told).idle()), "provider", 4)


TRUTHS: dict[str, Callable[[], Absence]] = {
    "a mailbox with the message": lambda: Exhibit(honest(), BOB).idle(),
    "a state before the message": lambda: Exhibit(honest(), BOB, 4).idle(),
    "the state of another mailbox": lambda: Exhibit(honest(), ALICE).idle(),
    "no mailbox of somebody else": lambda: Exhibit(honest(), DAVE).idle(),
    "no mailbox yet": lambda: Exhibit(honest(), CAROL, 1).idle(),
    "the record itself is no gap": lambda: Exhibit(honest(), BOB).gap(3),
    "a gap before it": lambda: Exhibit(honest(), BOB).gap(1),
    "the first record": lambda: Exhibit(honest(), BOB).gap(0),
    "neighbours that it stands between": lambda: Exhibit(honest(), BOB).between(3, 0, 2),
    "neighbours on its left": lambda: Exhibit(honest(), BOB).between(3, 0, 1),
    "itself and its neighbour": lambda: Exhibit(honest(), BOB).between(3, 1, 2),
    "an end that is none, after": lambda: Exhibit(honest(), BOB).between(3, 1, None),
    "an end that is none, before": lambda: Exhibit(honest(), BOB).between(3, None, 2),
    "the end itself": lambda: Exhibit(honest(), BOB).between(3, 2, None),
    "neighbours in another record": lambda: Exhibit(honest(), BOB).between(1, 1, None),
    "neighbours in another epoch, before": lambda: Exhibit(honest(), BOB).between(1, None, 0),
    "a gap in another mailbox": lambda: Exhibit(honest(), ALICE).gap(3),
}


@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("place", [(LAST, 1), (LAST, 2), (LAST, 0), (4, 0)])
def test_honest_statements_are_no_omission(name: str, place: tuple[int, int]) -> None:
    acquits(honest(), omission(*place, TRUTHS[name]()))


@pytest.mark.parametrize("name", ABSENCES)
def test_who_is_not_a_recipient_misses_nothing(name: str) -> None:
    """The absence is real; that the message is for its mailbox is not."""
    epoch, pos, absence, _ = ABSENCES[name]
    finding = omission(epoch, pos, absence())
    opening = finding.recipient
    others = [member for member in (EIGHT if pos == 2 else SIX).device_ids if member != BOB]
    acquits(honest(), finding._replace(recipient=recipient(EIGHT if pos == 2 else SIX, others[0])), "another mailbox")
    for changed in (
        opening._replace(device_id=DAVE),
        opening._replace(salt=bytes(16)),
        opening._replace(place=1 - opening.place),
        opening._replace(place=opening.place + 2),
        opening._replace(proof=()),
        opening._replace(proof=opening.proof * 2),
        opening._replace(proof=(bytes(32),)),
        recipient(recipients_of("alice", "bob", "carol"), BOB),
        recipient(recipients_of("bob"), BOB),
    ):
        acquits(honest(), finding._replace(recipient=changed))


def test_dave_is_told_the_truth() -> None:
    """He has no mailbox, and no message is for him: his own statements and others' messages make no proof."""
    nothing = Exhibit(honest(), DAVE).idle()
    acquits(honest(), Omission(sequence(honest(), LAST, 2), recipient(EIGHT, BOB), nothing), "another mailbox")


def test_a_mailbox_is_not_compared_with_itself() -> None:
    """Two words about one mailbox contradict each other, but leave nobody out: that is another class."""
    message = Exhibit(honest(), BOB).delivered(3, 2)
    absence = Exhibit(honest(), BOB, told=bob_upto(3)).idle()
    acquits(honest(), Omission(message, recipient(EIGHT, BOB), absence), "this very recipient")


def test_the_message_of_another_epoch_is_no_message() -> None:
    """A leaf in a record of another epoch than its seq names is committed to, but says nothing about that epoch."""
    stray = change_leaf(honest().sequenced[LAST][2], seq=make_seq(3, 0, 0))
    leaves = [*honest().received[CAROL][LAST][:0], stray]
    exhibit = Exhibit(honest(), CAROL, told=tell_leaves(honest().told[CAROL].upto(1), LAST, leaves), leaves={1: leaves})
    absence = Exhibit(honest(), BOB).gap(2)
    acquits(honest(), Omission(exhibit.delivered(1, 0), recipient(EIGHT, BOB), absence), "another epoch")


SEQUENCED: dict[str, dict[str, Any]] = {
    "another position": {"leaves": [change_leaf(tell().sequenced[LAST][0], seq=make_seq(LAST, 0, 1))]},
    "another lane": {"leaves": [change_leaf(tell().sequenced[LAST][0], seq=make_seq(LAST, 1, 0))]},
    "another epoch": {"leaves": [change_leaf(tell().sequenced[LAST][0], seq=make_seq(LAST + 1, 0, 0))]},
    "the last epoch there is": {"leaves": [change_leaf(tell().sequenced[LAST][0], seq=b"\xff" * 16)]},
    "the manifest of another epoch": {"epoch": 4},
    "the manifest of the last epoch there is": {"epoch": NO_EPOCH},
    "the manifest of another lane": {"lane": 1},
    "the manifest of another incarnation": {"incarnation": 1},
    "the manifest of another origin": {"origin": bytes(32)},
    "fewer messages": {"n_messages": 1},
    "more messages": {"n_messages": 4},
    "no messages": {"n_messages": 0, "root": EMPTY_ROOT},
}


@pytest.mark.parametrize("name", SEQUENCED)
def test_manifests_that_do_not_say_so(name: str) -> None:
    how = dict(SEQUENCED[name])
    leaves = how.pop("leaves", None)
    message = sequence(honest(), LAST, 0, leaves, **how)
    absence = Exhibit(honest(), BOB, told=bob_upto(3)).idle()
    acquits(honest(), Omission(message, recipient(SIX, BOB), absence))


def test_runs_that_are_not_in_the_manifest() -> None:
    absence = Exhibit(honest(), BOB, told=bob_upto(3)).idle()
    good = omission(LAST, 0, absence)
    convicts(honest(), good, "provider", LAST)
    leaf = good.message.sequenced
    assert leaf is not None
    for changed in (
        leaf._replace(first_pos=1),
        leaf._replace(first_pos=2**32 - 1),
        leaf._replace(leaf_hashes=()),
        leaf._replace(leaf_hashes=leaf.leaf_hashes[:1]),
        leaf._replace(leaf_hashes=leaf.leaf_hashes[::-1]),
        leaf._replace(leaf_hashes=(*leaf.leaf_hashes, bytes(32))),
        leaf._replace(place=1),
        leaf._replace(place=3),
        leaf._replace(place=2**16 - 1),
        leaf._replace(proof=(bytes(32),)),
        leaf._replace(leaf=honest().sequenced[LAST][1]),
        leaf._replace(roster_hash=bytes(32)),
        leaf._replace(manifest=leaf.manifest._replace(signature=bytes(64))),
    ):
        acquits(honest(), good._replace(message=CommittedLeaf(changed, None)))


def test_a_part_of_a_bundle_is_enough() -> None:
    absence = Exhibit(honest(), BOB, told=bob_upto(3)).idle()
    for first_pos, count, place in ((0, 1, 0), (0, 2, 1), (1, 1, 0), (1, 2, 0), (2, 1, 0)):
        message = sequence(honest(), LAST, place, first_pos=first_pos, count=count)
        members = EIGHT if first_pos + place == 2 else SIX
        convicts(honest(), Omission(message, recipient(members, BOB), absence), "provider", LAST)


def test_a_mailbox_of_another_generation_says_nothing() -> None:
    """Epochs in what it brought from elsewhere may be another provider's."""
    state = bob_upto(3).state._replace(gen=1, since_epoch=1)
    for absence in (
        Exhibit(honest(), BOB, told=bob_upto(3), state=state).idle(),
        Exhibit(honest(), BOB, told=bob_upto(3), state=state).gap(2),
    ):
        acquits(honest(), omission(LAST, 2, absence), "elsewhere")


def test_states_and_records_at_the_edges() -> None:
    """No epoch is before the beginning or after the end, whatever a state says."""
    told = bob_upto(3)
    for last_epoch in (NO_EPOCH, LAST, 2**63):
        state = told.state._replace(last_epoch=last_epoch)
        acquits(honest(), omission(LAST, 2, Exhibit(honest(), BOB, told=told, state=state).idle()))
    lies: list[dict[str, Any]] = [{"prev_epoch": NO_EPOCH}, {"k": 0}, {"mailbox": ALICE}]
    for changes in (*lies, {"epoch": NO_EPOCH}, {"epoch": LAST + 1}):
        lied = tell_leaves(bob_upto(2), LAST, honest().sequenced[LAST], **changes)
        acquits(honest(), omission(4, 0, Exhibit(honest(), BOB, told=lied).gap(2)))
    lied = tell_leaves(Told(BOB), 4, honest().sequenced[4], prev_epoch=3)
    acquits(honest(), omission(0, 0, Exhibit(honest(), BOB, told=lied).gap(0)))


def test_neighbours_under_another_count_or_place() -> None:
    exhibit = bob_without(2)
    good = exhibit.between(3, -1, None)
    convicts(honest(), omission(LAST, 2, good), "provider", LAST)
    assert good.before is not None
    for changed in (
        good.before._replace(place=0),
        good.before._replace(place=2),
        good.before._replace(place=2**32 - 1),
        good.before._replace(leaf=honest().sequenced[LAST][0]),
        good.before._replace(proof=()),
        PlacedLeaf(0, good.before.leaf, ()),
    ):
        acquits(honest(), omission(LAST, 2, good._replace(before=changed)))
    swapped = Absence(None, good.record, None, good.before)
    acquits(honest(), omission(LAST, 2, swapped))


def test_neighbours_that_a_framer_made_up() -> None:
    """Beside a true record, around a message that it has."""
    true = Exhibit(honest(), BOB).between(3, 0, 2)
    assert true.before is not None and true.after is not None
    earlier = change_leaf(honest().sequenced[LAST][0], seq=make_seq(LAST, 0, 0))
    later = change_leaf(honest().sequenced[LAST][2], seq=make_seq(LAST, 0, 2**48 - 1))
    for proof in ((), true.before.proof, true.after.proof, (bytes(32),), (bytes(32),) * 2):
        for place in (0, 1, 2):
            before, after = PlacedLeaf(place, earlier, proof), PlacedLeaf(place, later, proof)
            next_one, last_one = after._replace(place=place + 1), before._replace(place=2)
            for neighbours in ((None, after), (last_one, None), (before, next_one), (true.before, after)):
                acquits(honest(), omission(LAST, 1, true._replace(before=neighbours[0], after=neighbours[1])))
                acquits(honest(), omission(LAST, 2, true._replace(before=neighbours[0], after=neighbours[1])))


def test_the_same_neighbour_twice() -> None:
    good = bob_without(1).between(3, 0, 1)
    acquits(honest(), omission(LAST, 1, good._replace(after=good.before)))
    acquits(honest(), omission(LAST, 1, good._replace(before=good.after)))
    acquits(honest(), omission(LAST, 1, good._replace(before=good.after, after=good.before)))


def test_an_absence_is_one_of_its_forms() -> None:
    state, record = Exhibit(honest(), BOB).idle(), Exhibit(honest(), BOB).between(3, 0, 1)
    for wrong in (
        Absence(None, None, None, None),
        Absence(state.state, record.record, None, None),
        Absence(state.state, None, record.before, None),
        Absence(None, None, record.before, record.after),
    ):
        with pytest.raises(DecodeError):
            judge(honest(), omission(LAST, 2, wrong))


@pytest.mark.parametrize("n_outboxes", [2, 3])
def test_only_the_outbox_that_keeps_a_mailbox_has_its_say(n_outboxes: int) -> None:
    """Another outbox has, rightly, no such mailbox."""
    scribe = tell(n_outboxes)
    exhibits = [Exhibit(scribe, device_of(name)) for name in ("alice", "bob", "carol", "dave", "erin", "frank")]
    for exhibit in exhibits:
        proof = exhibit.state._replace(mailbox=BOB)
        acquits(scribe, Omission(sequence(scribe, LAST, 2), recipient(EIGHT, BOB), Absence(proof, None, None, None)))


def test_an_honest_change_of_outboxes_is_no_omission() -> None:
    """After it another outbox keeps the mailbox; what the one before said keeps to its own epochs."""
    scribe = tell(1, 4)
    scribe.change_roster(scribe.next_roster(3))
    scribe.commit(letter("bob", 1, b"five", own=16))
    scribe.change_roster(scribe.next_roster(2))
    scribe.commit(letter("alice", 4, b"six", b"seven", own=8), letter("carol", 2, b"eight", to=("bob", "carol")))
    for epoch, roster, n in ((0, 0, 2), (4, 1, 1), (5, 2, 3)):
        for place in range(n):
            message = sequence(scribe, epoch, place, roster=roster)
            members = EIGHT if (epoch, place) == (5, 2) else SIX
            for number in range(6):
                exhibit = Exhibit(scribe, BOB, number)
                records = len(scribe.epochs[number].told[BOB].entries)
                absences = [exhibit.idle(), *(exhibit.gap(k) for k in range(records))]
                for absence in absences:
                    acquits(scribe, Omission(message, recipient(members, BOB), absence))
