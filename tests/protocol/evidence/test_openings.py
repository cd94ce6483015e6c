"""Openings: whoever puts true pieces together wrongly, or false ones beside them, opens nothing."""

from functools import cache
from typing import Any

import pytest

from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.delta import OtherLeaf, SignedHead, SignedRoster
from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.evidence.openings import (
    HeadOpening,
    LogOpening,
    OpenedState,
    RecordOpening,
    SequencedLeaf,
    open_committed,
    open_head,
    open_leaf,
    open_log,
    open_recipient,
    open_record,
    open_sequenced,
    open_state,
)
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.history import HISTORY_RECORD, MAILBOX_STATE
from noise.protocol.identifiers import NO_EPOCH, Actor, Role, make_seq
from noise.protocol.merkle import Tree, leaf_hash, tree_root
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_RECORD,
    MESSAGE_LEAF,
    hash_head,
    hash_roster,
    statement_leaf_hash,
)
from tests.protocol.evidence.exhibits import (
    Exhibit,
    Scribe,
    change_leaf,
    recipient,
    rosters_of,
    sequence,
    tell,
    tell_leaves,
)
from tests.protocol.story import ALICE, BOB, DAVE, LAST
from tests.vectors.cast import (
    LOG,
    LOG_NAME,
    ORIGIN,
    OTHER_ORIGIN,
    actor_key,
    device_of,
    recipients_of,
    sign_roster,
    signer_of,
)

CAROL = device_of("carol")
OTHER = tree_root([bytes(32)])


@cache
def honest() -> Scribe:
    """Not to be changed."""
    return tell()


@cache
def rosters() -> Rosters:
    return Rosters(ORIGIN, rosters_of(honest()))


def refuses(open_it: Any, *arguments: Any) -> None:
    """A refusal that `nothing_else` makes a NotProven, or a DecodeError."""
    with pytest.raises(NoiseError):
        open_it(*arguments)


def bob(number: int = LAST, **lie: Any) -> Exhibit:
    return Exhibit(honest(), BOB, number, **lie)


def test_what_is_true_opens() -> None:
    exhibit = bob()
    assert open_log(rosters(), exhibit.log).epoch == LAST
    head = open_head(rosters(), exhibit.head)
    assert (head.epoch, head.signer) == (
        LAST,
        (Actor(Role.OUTBOX, 0, 0), actor_key(Actor(Role.OUTBOX, 0, 0)).public_key),
    )
    state = open_state(rosters(), exhibit.state)
    assert (state.epoch, state.mailbox, state.state) == (LAST, BOB, honest().told[BOB].state)
    assert open_record(rosters(), exhibit.record(2)).record.epoch == 4
    leaf = open_leaf(rosters(), exhibit.leaf(3, 2))
    assert (leaf.leaf.seq, leaf.epoch, leaf.mailbox) == (make_seq(LAST, 0, 2), LAST, BOB)
    sequenced = open_committed(rosters(), sequence(honest(), LAST, 2))
    assert (sequenced.encoded, sequenced.mailbox) == (leaf.encoded, None)
    assert open_recipient(leaf.leaf, recipient(recipients_of("bob", "carol"), CAROL)) == CAROL
    absent = open_state(rosters(), Exhibit(honest(), DAVE).state)
    assert absent == OpenedState(open_head(rosters(), Exhibit(honest(), DAVE).head), DAVE, None)


LIES: dict[str, dict[str, Any]] = {
    "a record of another epoch than its place": {"record": {"epoch": 4}, "head": {"epoch": 4}},
    "a record of the last epoch there is": {"record": {"epoch": NO_EPOCH}, "head": {"epoch": NO_EPOCH}},
    "a record under an unknown roster": {"record": {"roster_hash": OTHER}, "head": {"roster_hash": OTHER}},
    "a record with too many statements": {"record": {"statements_count": 4}},
    "a record with too few statements": {"record": {"statements_count": 2}},
    "a record with other statements": {"record": {"statements_root": OTHER}},
    "a head of another epoch": {"head": {"epoch": 4}},
    "a head of another origin": {"head": {"origin": OTHER_ORIGIN}},
    "a head under another roster": {"head": {"roster_hash": OTHER}},
    "a head of another incarnation": {"head": {"incarnation": 1}},
    "a head of another outbox": {"head": {"actor": Actor(Role.OUTBOX, 0, 1).encode()}},
    "a head of an inbox": {"head": {"actor": Actor(Role.INBOX, 0, 0).encode()}},
    "a head that another key signed": {"head_signer": signer_of("mallory")},
    "a head that the log signed": {"head_signer": LOG},
    "a checkpoint that another key signed": {"log_signer": signer_of("mallory")},
    "a checkpoint of another size": {"checkpoint": {"size": LAST + 2}},
    "a checkpoint of another root": {"checkpoint": {"root": OTHER}},
    "a checkpoint of another log": {"checkpoint": {"log_name": "noise-seq/other"}},
    "a map with another root": {"head": {"map_root": OTHER}},
}


@pytest.mark.parametrize("name", LIES)
def test_statements_that_do_not_fit_together(name: str) -> None:
    """All of it signed: for some there are classes of their own, but nothing is built on them."""
    refuses(open_state, rosters(), bob(**LIES[name]).state)


def test_records_with_placement_overrides_place_nobody() -> None:
    exhibit = bob(record={"placement_root": OTHER})
    assert open_head(rosters(), exhibit.head).epoch == LAST
    refuses(open_state, rosters(), exhibit.state)
    refuses(open_state, rosters(), bob(record={"placement_count": 1}).state)


def test_a_head_that_was_never_committed() -> None:
    """An outbox signed it, and no epoch has it."""
    lie, true = bob(state=honest().told[BOB].upto(2).state), bob()
    head = true.head._replace(head=lie.head.head)
    refuses(open_head, rosters(), head)
    refuses(open_state, rosters(), lie.state._replace(head=head))
    refuses(open_head, rosters(), bob(4).head._replace(log=true.log))
    refuses(open_head, rosters(), true.head._replace(log=bob(4).log))
    refuses(open_head, rosters(), true.head._replace(head=bob(4).head.head))


def test_a_statement_of_another_role_is_no_head() -> None:
    """An inbox's key signs the bytes of a head, and a record commits to them at the inbox's own place."""
    inbox = Actor(Role.INBOX, 0, 0)
    snapshot = honest().epochs[LAST]
    body = EPOCH_HEAD.encode(EPOCH_HEAD.decode(bob().head.head.body)._replace(actor=inbox.encode()))
    actors = snapshot.roster.signers()
    statements = Tree([statement_leaf_hash(actor, hash_head(body)) for actor in actors])
    record = EPOCH_RECORD.encode(snapshot.record._replace(statements_root=statements.root))
    log = Tree([*honest().leaves[:LAST], leaf_hash(record)])
    note = sign_checkpoint(LOG, Checkpoint(LOG_NAME, LAST + 1, log.root))
    opening = LogOpening(note, LAST, record, tuple(log.inclusion(LAST)))
    signed = SignedHead(*actor_key(inbox).sign("head", ORIGIN, body))
    with pytest.raises(NoiseError, match="not the head of an outbox"):
        open_head(rosters(), HeadOpening(opening, signed, tuple(statements.inclusion(actors.index(inbox.encode())))))


def test_states_that_are_not_in_the_map() -> None:
    good = bob().state
    alice = Exhibit(honest(), ALICE).state
    richer = MAILBOX_STATE.encode(MAILBOX_STATE.decode(good.state)._replace(total=99))
    for changed in (
        good._replace(state=richer),
        good._replace(state=b""),
        good._replace(state=b"", other=OtherLeaf(OTHER, OTHER)),
        good._replace(state=b"", path=(), other=None),
        good._replace(state=alice.state),
        good._replace(mailbox=ALICE),
        good._replace(mailbox=DAVE, state=b""),
        good._replace(path=good.path[:-1]),
        good._replace(path=good.path[::-1]),
        good._replace(path=(*good.path, OTHER)),
        good._replace(path=(OTHER,) * 128),
        good._replace(other=OtherLeaf(OTHER, OTHER)),
        alice._replace(mailbox=BOB),
        Exhibit(honest(), DAVE).state._replace(mailbox=BOB),
    ):
        refuses(open_state, rosters(), changed)


def test_the_state_of_another_mailbox_at_ones_own_key() -> None:
    refuses(open_state, rosters(), bob(state=honest().told[ALICE].state).state)


def test_a_state_that_is_none() -> None:
    for state in (b"hello", bob().state.state + b"\0"):
        with pytest.raises(DecodeError):
            open_state(rosters(), bob(state=state).state)


def test_another_outbox_has_no_say() -> None:
    scribe = tell(3)
    opened = Rosters(ORIGIN, rosters_of(scribe))
    exhibits = {name: Exhibit(scribe, device_of(name)) for name in ("alice", "bob", "carol", "dave", "erin", "frank")}
    signers = {open_state(opened, exhibit.state).signer for exhibit in exhibits.values()}
    assert len(signers) > 1
    for one in exhibits.values():
        for other in exhibits.values():
            swapped = one.state._replace(head=other.head)
            if open_state(opened, one.state).signer != open_state(opened, other.state).signer:
                refuses(open_state, opened, swapped)
            else:
                assert open_state(opened, swapped) == open_state(opened, one.state)


def test_records_that_are_not_in_the_history() -> None:
    good = bob().record(3)
    framed = HISTORY_RECORD.encode(HISTORY_RECORD.decode(good.record)._replace(n_messages=9))
    for changed in (
        good._replace(record=framed),
        good._replace(place=2),
        good._replace(place=4),
        good._replace(place=2**64 - 1),
        good._replace(proof=()),
        good._replace(proof=good.proof[::-1]),
        good._replace(state=bob(4).state),
        good._replace(state=Exhibit(honest(), ALICE).state),
        good._replace(state=Exhibit(honest(), DAVE).state),
        RecordOpening(Exhibit(honest(), DAVE).state, 0, good.record, ()),
    ):
        refuses(open_record, rosters(), changed)


def test_messages_that_are_not_in_the_record() -> None:
    good = bob().leaf(3, 1)
    for changed in (
        good._replace(leaf=change_leaf(good.leaf, payload_hash=OTHER)),
        good._replace(place=0),
        good._replace(place=2),
        good._replace(place=3),
        good._replace(proof=()),
        good._replace(record=bob().record(2)),
    ):
        refuses(open_leaf, rosters(), changed)


def test_messages_of_epochs_that_are_not_over() -> None:
    seq = make_seq(LAST + 1, 0, 0)
    leaves = [change_leaf(honest().sequenced[LAST][0], seq=seq)]
    told = tell_leaves(honest().told[BOB].upto(3), LAST + 1, leaves)
    exhibit = Exhibit(honest(), BOB, told=told, leaves={3: leaves})
    refuses(open_leaf, rosters(), exhibit.leaf(3, 0))
    assert open_record(rosters(), exhibit.record(3)).record.epoch == LAST + 1


def test_messages_that_were_not_sequenced() -> None:
    """The framer's own bytes, with the right position, beside a true run."""
    good = sequence(honest(), LAST, 0).sequenced
    assert isinstance(good, SequencedLeaf)
    for changed in (
        good._replace(leaf=change_leaf(good.leaf, payload_hash=OTHER)),
        good._replace(leaf=MESSAGE_LEAF.encode(MESSAGE_LEAF.decode(good.leaf)._replace(sender=BOB))),
        good._replace(place=2**16 - 1),
        good._replace(place=3),
    ):
        refuses(open_sequenced, rosters(), changed)


def test_rosters_count_from_their_epoch_on() -> None:
    scribe = tell(1, 3)
    late = sign_roster(scribe.next_roster(1)._replace(valid_from_epoch=3))
    opened = Rosters(ORIGIN, [*rosters_of(scribe), SignedRoster(*late)])
    late_hash = hash_roster(late.body)
    exhibit = Exhibit(scribe, BOB, 2, record={"roster_hash": late_hash}, head={"roster_hash": late_hash})
    refuses(open_log, opened, exhibit.log)
    refuses(open_state, opened, exhibit.state)
    only_late = Rosters(ORIGIN, [SignedRoster(*late)])
    refuses(open_log, only_late, Exhibit(scribe, BOB, 2).log)
    message = sequence(scribe, 2, 0).sequenced
    assert message is not None
    refuses(open_sequenced, opened, message._replace(roster_hash=late_hash))
    assert open_sequenced(opened, message).epoch == 2


def test_only_what_was_needed_is_marked_as_used() -> None:
    scribe = tell(1, 3)
    scribe.change_roster(scribe.next_roster(3))
    scribe.commit()
    opened = Rosters(ORIGIN, rosters_of(scribe))
    assert opened.used == set()
    open_state(opened, Exhibit(scribe, BOB, 2).state)
    assert opened.used == {hash_roster(scribe.rosters[0].body)}
