"""What each lie that a follower refuses proves by itself: the class of evidence, or why there is none.

The lies are those of `test_follower_lies` and `test_history_lies`.
"""

from typing import Any

import pytest

from noise.protocol.delta import Delta, HistoryEntry, RecipientLists, SignedRoster
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.evidence.accuse import accuse_refusal
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.history import HISTORY_RECORD
from noise.protocol.identifiers import make_seq
from noise.protocol.merkle import EMPTY_ROOT, tree_root
from noise.protocol.signing import Signed
from noise.protocol.statements import ROSTER
from tests.protocol.evidence.materials import Witness, retell
from tests.protocol.liar import Liar, Lie, Placed, Told
from tests.protocol.story import ALICE, BOB, DAVE, LAST, OTHER_ROOT, letter, story, tell_story
from tests.protocol.test_follower_lies import HEAD_LIES, LOG_LIES, ROSTER_LIES, STATE_LIES
from tests.protocol.test_history_lies import (
    KNOWN,
    MESSAGE_LIES,
    RECORD_LIES,
    before,
    busy_story,
    honest,
    honest_first,
)
from tests.vectors.cast import CREATED_MS, ORIGIN, sign_roster


def proven(witness: Witness, delta: Delta, *, alone: bool = True) -> str | None:
    """The class that a refused delta proves, by itself or with all that was kept."""
    with pytest.raises(ProviderMisbehaved):
        witness.take(delta)
    return prove(witness, delta, alone=alone)


def prove(witness: Witness, delta: Delta, *, alone: bool = True) -> str | None:
    kept = None if alone else witness.material
    proof = accuse_refusal(witness.follower.trusted, delta, ORIGIN, witness.mailbox, witness.lists, kept)
    return verify_proof(proof, {ORIGIN}).kind if proof else None


def told(lie: dict[str, Any], n_epochs: int = LAST, mailbox: bytes = BOB, history: Told | None = None) -> str | None:
    """What somebody at `n_epochs` can prove who is told this about the last epoch."""
    witness = Witness(mailbox).follow(story(), n_epochs)
    delta = story().delta(mailbox, witness.follower.cursor, told=history, lie=Lie(**lie))
    found = proven(witness, delta)
    assert proven(witness, delta, alone=False) == found
    return found


EPOCH_LIES: dict[str, tuple[str | None, str | None, str | None]] = {
    # name: what it proves to who follows, to who skipped epochs, to who is new
    "another log before": ("LogFork", "InvalidRecord", "InvalidRecord"),
    "another root after": (None, None, None),  # no leaf of that log has been seen
    "a checkpoint ahead of its record": ("InvalidRecord", "InvalidRecord", "InvalidRecord"),
    "a checkpoint behind its record": ("LogFork", None, None),  # without another checkpoint of that size
    "a record ahead of its checkpoint": ("InvalidRecord", "InvalidRecord", "InvalidRecord"),
    "a clock that went back": ("InvalidRecord", "InvalidRecord", None),  # back from what?
    "an unknown roster": (None, None, None),  # it may be one that was never shown
    "unknown placement": (None, None, None),  # reserved
    "a count of placements": (None, None, None),
    "unknown challenges": (None, None, None),
    "a count of challenges": (None, None, None),
    "other statements": (None, None, None),  # they are, perhaps, others
    "more statements": ("InvalidRecord", "InvalidRecord", "InvalidRecord"),
    "fewer statements": ("InvalidRecord", "InvalidRecord", "InvalidRecord"),
    "another key for the log": (None, None, None),  # not signed
    "another log's name": (None, None, None),  # not this log's
    "another provider's head": (None, None, None),
    "another epoch's head": ("StageEquivocation", None, None),  # without that epoch's true head
    "another outbox's head": (None, None, None),  # not signed by that one
    "an inbox's head": (None, None, None),
    "another incarnation": (None, None, None),  # that key is another incarnation's
    "a head under another roster": (None, None, None),
    "a head over another map": (None, None, None),
    "another actor's signature": (None, None, None),
}


@pytest.mark.parametrize("name", LOG_LIES | HEAD_LIES)
def test_lies_about_an_epoch(name: str) -> None:
    lie = (LOG_LIES | HEAD_LIES)[name][1]
    expected = EPOCH_LIES[name]
    for n_epochs, kind in zip((LAST, 1, 0), expected, strict=True):
        if (name, n_epochs) != ("a clock that went back", 0):
            assert told(vars(lie), n_epochs) == kind


STATES: dict[str, str | None] = {
    "another generation": None,  # a mailbox may come back
    "since another epoch": "MailboxRollback",
    "another mailbox": None,  # no opening has this form
    "no records": "MailboxRollback",
    "an epoch to come": "HistoryViolation",
    "no epoch": "HistoryViolation",
    "unknown kind": None,  # reserved
    "unknown status": None,
    "an end": None,
    "a target": None,
    "as many records as before": "MailboxFork",
    "an epoch that was verified": "MailboxRollback",
    "as many messages as before": "MailboxRollback",
    "no later message": "HistoryViolation",
    "more records": None,  # no record of that history has been seen
    "other records": None,
    "more messages": "HistoryViolation",
    "fewer messages": "HistoryViolation",
    "a later message": "HistoryViolation",
    "an earlier message": "HistoryViolation",
}


@pytest.mark.parametrize("name", STATE_LIES)
def test_lies_about_the_state(name: str) -> None:
    state = story().told[BOB].state._replace(**STATE_LIES[name][1])
    assert told({"state": state}) == STATES[name]


RECORDS: dict[str, str | None] = {
    "mailbox": "HistoryViolation",
    "k": "HistoryViolation",
    "k again": "HistoryViolation",
    "prev_epoch": "HistoryViolation",
    "prev_root": "HistoryViolation",
    "more messages": None,  # that a tree has another shape than its size says has no opening
    "fewer messages": None,
    "delta_root": None,  # no leaf of it has been seen
    "own_ciphertexts_count": None,
    "own_ciphertexts_root": None,
}


@pytest.mark.parametrize("name", RECORD_LIES)
def test_lies_of_a_record(name: str) -> None:
    assert told({}, history=before().then(LAST, *honest(), **RECORD_LIES[name])) == RECORDS[name]


MESSAGES: dict[str, tuple[str | None, str | None]] = {
    # name: what it proves by itself, and with all messages that were kept
    "another order": ("HistoryViolation",) * 2,
    "a bundle twice": ("HistoryViolation",) * 2,
    "a bundle in two parts": (None, None),  # the leaves are as they should be, only the delta is not
    "positions that overlap": ("HistoryViolation",) * 2,
    "a bundle at two places": ("CounterViolation",) * 2,
    "a bundle of an earlier epoch": (None, "CounterViolation"),
    "a counter that was used": (None, "CounterViolation"),
    "a counter that was skipped": ("CounterViolation",) * 2,
    "a counter twice": ("CounterViolation",) * 2,
    "counters that overlap": ("CounterViolation",) * 2,
    "a message for others": ("Misdelivery",) * 2,
    "a message for others beside one's own": ("Misdelivery",) * 2,
    "another signer": (None, None),  # nobody commits to devices' signatures
    "the provider's signature": (None, None),
    "a bundle for another provider": (None, None),
    "a sender who is no recipient": (None, None),
}


def lie_about_messages(name: str) -> tuple[Liar, Told]:
    liar = tell_story()
    placed = MESSAGE_LIES[name][1]
    for one in placed():
        liar.sets.update((recipients.root, recipients) for recipients in one.bundle.recipients)
    return liar, before().then(LAST, *placed())


@pytest.mark.parametrize("name", MESSAGE_LIES)
def test_lies_about_messages(name: str) -> None:
    liar, history = lie_about_messages(name)
    witness = Witness().follow(liar, LAST)
    delta = liar.delta(BOB, witness.follower.cursor, told=history)
    assert (proven(witness, delta), proven(witness, delta, alone=False)) == MESSAGES[name]


def test_a_counter_used_in_a_record_that_was_forgotten() -> None:
    """What was dropped proves nothing any more."""
    liar, history = lie_about_messages("a bundle of an earlier epoch")
    witness = Witness().follow(liar, LAST)
    delta = liar.delta(BOB, witness.follower.cursor, told=history)
    for forgotten, kind in ((1, "CounterViolation"), (2, None)):
        witness.forget(forgotten)
        assert proven(witness, delta, alone=False) == kind


def test_records_and_states_that_do_not_fit() -> None:
    late = before().then(LAST).state._replace(last_seq=make_seq(LAST, 0, 0), total=99)
    assert told({"state": late}, history=before().then(LAST)) == "HistoryViolation"
    true = story().told[BOB].state
    another_epoch = before().then(LAST, *honest(), epoch=LAST - 1)
    assert told({"state": true}, history=another_epoch) is None  # the record is not in that history
    assert told({}, history=another_epoch) == "MailboxRollback"
    assert told({}, history=before().then(LAST, *honest(), epoch=LAST + 1)) == "HistoryViolation"
    later = Told(BOB).then(2, *honest_first())
    assert told({"state": later.state._replace(since_epoch=1)}, 0, history=later) == "HistoryViolation"
    assert told({"state": b"", "tail": ()}, history=before()) == "MailboxRollback"
    assert told({"state": b""}, 0) is None
    assert told({"state": story().told[BOB].histories[1].state, "tail": ()}, 1) is None


def test_what_only_the_past_contradicts() -> None:
    """A record that claims to follow another than the one before it; messages of another epoch than their record's."""
    first, late = Placed(letter("alice", 1, b"one", b"two", own=8)), Placed(letter("alice", 9, b"late"))
    wrong_link = Told(BOB).then(0, first).then(3, late, prev_epoch=1).then(LAST, *honest())
    assert told({}, 0, history=wrong_link) == "HistoryViolation"
    assert told({}, 0, history=before().then(LAST, *honest(), prev_root=OTHER_ROOT)) == "HistoryViolation"
    wrong_epoch = Told(BOB).then(0, first).then(3, late, epoch=4).then(LAST, *honest())
    assert told({}, 0, history=wrong_epoch) == "HistoryViolation"


def test_a_state_that_contradicts_itself() -> None:
    """Nothing is known of its records."""
    state = story().told[BOB].state._replace(hist_root=OTHER_ROOT, last_epoch=LAST + 1)
    assert told({"state": state}, 0) == "HistoryViolation"


@pytest.mark.parametrize("n_more", [0, 2])  # with one more, both cuts of the hashes are the same
@pytest.mark.parametrize("page", [1, 2])
def test_a_lie_in_a_later_page(n_more: int, page: int) -> None:
    """The state was trusted with the first page; the next one comes under it, or under a later one."""
    liar = busy_story(6)
    other = [Placed(letter("alice", 4, b"3"), 1), Placed(letter("alice", 9, b"9"))]
    told = liar.told[BOB].upto(3).then(3, *other)
    for number in (4, 5):
        told = told.then(number, Placed(letter("alice", number + 10, b"%d" % number)))
    retell(liar, told)
    witness = Witness()
    witness.take(liar.delta(BOB, records_max=3))
    for number in range(n_more):
        liar.commit(letter("alice", 20 + number, b"more"))
    delta = liar.delta(BOB, witness.follower.cursor, records_max=page)
    assert (proven(witness, delta), proven(witness, delta, alone=False)) == ("HistoryViolation",) * 2


def test_what_the_connection_brought_before() -> None:
    """Recipient lists come once, a roster that is nobody's may come any time."""
    liar, history = lie_about_messages("another order")
    witness = Witness().follow(liar, LAST)
    delta = liar.delta(BOB, witness.follower.cursor, told=history)
    forged_roster = SignedRoster(liar.rosters[0].body, bytes(64))
    for changed in (delta._replace(sets=()), delta._replace(rosters=(forged_roster,))):
        assert proven(witness, changed) == "HistoryViolation"
    witness.lists = RecipientLists()
    assert proven(witness, delta) == "HistoryViolation"
    assert proven(witness, delta._replace(sets=())) is None


def test_the_state_goes_back() -> None:
    for earlier in story().told[BOB].histories[: KNOWN - 1]:
        assert told({"state": earlier.state, "tail": ()}, history=before()) == "MailboxRollback"


def test_the_past_grows() -> None:
    late = Placed(letter("alice", 9, b"late"))
    assert told({}, 4, history=story().told[BOB].upto(2).then(3, late)) == "MailboxRollback"
    with_news = story().told[BOB].upto(2).then(3, late).then(LAST, *honest())
    assert told({}, 4, history=with_news) == "HistoryViolation"
    hello = Placed(letter("alice", 9, b"?", to=("alice", "dave")))
    liar = tell_story()
    liar.sets.update((one.root, one) for one in hello.bundle.recipients)
    dave = Witness(DAVE).follow(liar, LAST)
    delta = liar.delta(DAVE, dave.follower.cursor, told=Told(DAVE).then(3, hello))
    assert proven(dave, delta) == "MailboxRollback"


def test_another_state_of_the_same_size() -> None:
    liar = tell_story()
    liar.commit()
    alice = Witness(ALICE).follow(liar, LAST + 1)
    state = liar.told[ALICE].state
    for changes in ({"hist_root": OTHER_ROOT}, {"total": state.total + 1}):
        lie = Lie(state=state._replace(**changes))
        assert proven(alice, liar.delta(ALICE, alice.follower.cursor, lie=lie)) == "MailboxFork"


def test_the_same_size_twice() -> None:
    witness = Witness().follow(story(), LAST + 1)
    for lie in (Lie(record={"time_ms": CREATED_MS + 10_000}), Lie(checkpoint={"root": OTHER_ROOT})):
        assert proven(witness, story().delta(BOB, witness.follower.cursor, lie=lie)) == "LogFork"


def test_another_past() -> None:
    """The log is another one, but of the places that differ nothing was shown: others' views will convict."""
    for n_epochs in range(1, LAST + 1):
        for changed in range(n_epochs):
            leaves = [*story().leaves[:changed], bytes(32), *story().leaves[changed + 1 : LAST]]
            assert told({"leaves": leaves, "record": {"prev_root": tree_root(leaves)}}, n_epochs) is None


def test_a_record_that_commits_to_nothing() -> None:
    """The attack: a provider ends the client of a victim by an entry without messages, whose root says so."""
    witness = Witness(BOB).follow(story(), LAST)
    delta = story().delta(BOB, witness.follower.cursor)
    last = delta.history[-1]
    record = HISTORY_RECORD.decode(last.record)._replace(n_messages=0, delta_root=EMPTY_ROOT)
    empty = HistoryEntry(HISTORY_RECORD.encode(record), ())
    assert proven(witness, delta._replace(history=(*delta.history[:-1], empty))) is None


def test_honest_words_at_the_wrong_time() -> None:
    """An older epoch, the same delta twice, records held back: what is signed is true."""
    witness = Witness().follow(story(), LAST + 1)
    for number in range(LAST):
        assert proven(witness, story().delta(BOB, witness.follower.cursor, number=number, lie=Lie(tail=()))) is None
    for n_epochs in (0, 1, LAST):
        witness = Witness().follow(story(), n_epochs)
        delta = story().delta(BOB, witness.follower.cursor)
        assert proven(witness, story().delta(BOB, witness.follower.cursor, records_max=0)) is None
        assert prove(witness, delta) is None
        witness.take(delta)
        assert proven(witness, delta) is None


ROSTERS = {"binds the epoch only later": "InvalidRecord"}
"""The others are the root's own lies, or not its words, or name no actors; one such class is reserved."""


@pytest.mark.parametrize("name", ROSTER_LIES)
def test_lies_about_the_next_roster(name: str) -> None:
    liar = tell_story(until=LAST - 1)
    witness = Witness().follow(liar, LAST)
    lie = ROSTER_LIES[name][1](liar)
    liar.change_roster(liar.next_roster(2))
    liar.rosters[-1] = Signed(ROSTER.encode(lie), sign_roster(lie).signature)
    liar.roster = lie if "outbox" not in name else liar.roster
    liar.commit(letter("alice", 4, b"under the new roster"))
    assert proven(witness, liar.delta(BOB, witness.follower.cursor)) == ROSTERS.get(name)


def test_while_catching_up() -> None:
    """The history behind a page is told in another way: proven when the page reaches the state that was trusted."""
    liar = busy_story(6)
    witness = Witness()
    witness.take(liar.delta(BOB, records_max=2))
    liar.commit(letter("alice", 7, b"6"))
    told = liar.told[BOB].upto(3).then(3, Placed(letter("alice", 4, b"another")))
    for number in range(4, 7):
        told = told.then(number, Placed(letter("alice", number + 1, b"%d" % number)))
    found = [
        proven(witness, liar.delta(BOB, witness.follower.cursor, told=told, records_max=n), alone=alone)
        for alone in (True, False)
        for n in range(1, 6)
    ]
    assert found == [None, None, None, None, "HistoryViolation"] * 2
