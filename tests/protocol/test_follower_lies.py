"""Lies that are rightly signed, each with the code under which a follower refuses it: log, roster, head and state.

Knows nothing of lies about messages and their order: those are in `test_history_lies`.
"""

from collections.abc import Callable
from typing import Any

import pytest

from noise.protocol.challenges import NO_CHALLENGES
from noise.protocol.history import MAILBOX_STATE
from noise.protocol.identifiers import NO_EPOCH, Actor, Role, make_seq
from noise.protocol.merkle import tree_root
from noise.protocol.placement import place_mailbox
from noise.protocol.signing import Signed
from noise.protocol.statements import ROSTER, Roster
from tests.protocol.liar import Liar, Lie
from tests.protocol.story import ALICE, BOB, DAVE, LAST, OTHER_ROOT, Client, check_lie, letter, story, tell_story
from tests.vectors.cast import CREATED_MS, OTHER_ORIGIN, actor_key, sign_roster, signer_of

LOG_LIES: dict[str, tuple[str, Lie]] = {
    "another log before": ("log-fork", Lie(record={"prev_root": OTHER_ROOT})),
    "another root after": ("log-fork", Lie(checkpoint={"root": OTHER_ROOT})),
    "a checkpoint ahead of its record": ("wrong-epoch", Lie(checkpoint={"size": LAST + 2})),
    "a checkpoint behind its record": ("wrong-epoch", Lie(checkpoint={"size": LAST})),
    "a record ahead of its checkpoint": ("wrong-epoch", Lie(record={"epoch": LAST + 1})),
    "a clock that went back": ("time-went-back", Lie(record={"time_ms": CREATED_MS - 1})),
    "an unknown roster": ("wrong-roster", Lie(record={"roster_hash": bytes(32)})),
    "unknown placement": ("wrong-placement", Lie(record={"placement_root": OTHER_ROOT})),
    "a count of placements": ("wrong-placement", Lie(record={"placement_count": 1})),
    "other statements": ("bad-proof", Lie(record={"statements_root": OTHER_ROOT})),
    "more statements": ("statement-count", Lie(record={"statements_count": 6})),
    "fewer statements": ("statement-count", Lie(record={"statements_count": 4})),
    "another key for the log": ("malformed", Lie(log_signer=signer_of("mallory"))),
    "another log's name": ("malformed", Lie(checkpoint={"log_name": "noise-seq/elsewhere"})),
}
HEAD_LIES: dict[str, tuple[str, Lie]] = {
    "another provider's head": ("wrong-head", Lie(head={"origin": OTHER_ORIGIN})),
    "another epoch's head": ("wrong-head", Lie(head={"epoch": LAST - 1})),
    "another outbox's head": ("wrong-head", Lie(head={"actor": Actor(Role.OUTBOX, 0, 1).encode()})),
    "an inbox's head": ("wrong-head", Lie(head={"actor": Actor(Role.INBOX, 0, 0).encode()})),
    "another incarnation": ("wrong-incarnation", Lie(head={"incarnation": 1})),
    "a head under another roster": ("wrong-roster", Lie(head={"roster_hash": bytes(32)})),
    "a head over another map": ("bad-map-proof", Lie(head={"map_root": OTHER_ROOT})),
    "another actor's signature": ("bad-signature", Lie(head_signer=actor_key(Actor(Role.INBOX, 0, 0)))),
}


@pytest.mark.parametrize("name", LOG_LIES | HEAD_LIES)
@pytest.mark.parametrize("n_epochs", [LAST, 1, 0], ids=["follows", "skipped", "is new"])
def test_lies_about_an_epoch(name: str, n_epochs: int) -> None:
    """Whoever follows, whoever comes back and whoever comes for the first time refuse them for the same reason."""
    code, lie = (LOG_LIES | HEAD_LIES)[name]
    if name == "a clock that went back" and not n_epochs:
        return  # nobody knows what the clock said before
    check_lie(code, n_epochs, **vars(lie))


@pytest.mark.parametrize("n_epochs", [2, 3], ids=["skipped", "follows"])
def test_challenges_do_not_vanish(n_epochs: int) -> None:
    """What they ask, and what became of them, is nothing to a follower. But none is ever taken out of the log."""
    liar = Liar()
    liar.commit(letter("alice", 1, b"one"))
    liar.challenges = (OTHER_ROOT, 2)
    for _ in range(3):
        liar.commit()
    for count in (0, 1):
        client = Client(liar, n_epochs)
        lie = Lie(record={"challenges_root": NO_CHALLENGES, "challenges_count": count})
        client.refuses(liar.delta(BOB, client.follower.cursor, lie=lie), "wrong-challenges")
        client.take(liar.delta(BOB, client.follower.cursor))
    for count in (2, 3):  # one was answered; one more was asked
        client = Client(liar, n_epochs)
        more = Lie(record={"challenges_root": bytes(32), "challenges_count": count})
        client.take(liar.delta(BOB, client.follower.cursor, lie=more))


@pytest.mark.parametrize("n_epochs", range(1, LAST + 1))
def test_another_past(n_epochs: int) -> None:
    """A log that is consistent in itself, but differs in an epoch that was verified, or in one that was skipped."""
    for changed in range(LAST):
        leaves = [*story().leaves[:changed], bytes(32), *story().leaves[changed + 1 : LAST]]
        client = Client(story(), n_epochs)
        lie = Lie(leaves=leaves, record={"prev_root": tree_root(leaves)})
        delta = story().delta(BOB, client.follower.cursor, lie=lie)
        if changed < n_epochs:
            client.refuses(delta, "log-fork")
        else:
            client.take(delta)  # whoever verified the epochs that differ sees it; then gossip does


def test_the_same_size_twice() -> None:
    client = Client(story(), LAST + 1)
    cursor = client.follower.cursor
    for lie in (Lie(record={"time_ms": CREATED_MS + 10_000}), Lie(checkpoint={"root": OTHER_ROOT})):
        client.refuses(story().delta(BOB, cursor, lie=lie), "log-fork")
    client.take(story().delta(BOB, cursor))


def test_an_epoch_is_left_out() -> None:
    check_lie("bad-proof", record={"epoch": LAST + 1}, checkpoint={"size": LAST + 2})
    # Whoever skipped some cannot see it from the hashes: those of [1, 5) fit [1, 6) as well. But a size is signed, and
    # so is the head's epoch.
    check_lie("wrong-head", 1, record={"epoch": LAST + 1}, checkpoint={"size": LAST + 2})


def test_rollback() -> None:
    client = Client(story(), LAST + 1)
    for number in range(LAST):
        delta = story().delta(BOB, client.follower.cursor, number=number, lie=Lie(tail=()))
        client.refuses(delta, "log-rollback")


def test_a_delta_comes_twice() -> None:
    client = Client(story(), LAST)
    delta = story().delta(BOB, client.follower.cursor)
    client.take(delta)
    client.refuses(delta, "bad-history")
    heartbeat = story().delta(BOB, client.follower.cursor)
    client.take(heartbeat)
    client.take(heartbeat)


def test_the_head_of_an_outbox_that_does_not_keep_the_mailbox() -> None:
    liar = tell_story(2)
    own = place_mailbox(liar.roster, BOB)
    other = Actor(Role.OUTBOX, 0, 1 - own.number)
    client = Client(liar, LAST)
    lie = Lie(head={"actor": other.encode()}, head_signer=actor_key(other))
    client.refuses(liar.delta(BOB, client.follower.cursor, lie=lie), "wrong-head")
    client.take(liar.delta(BOB, client.follower.cursor))


RosterLie = Callable[[Liar], Roster]
ROSTER_LIES: dict[str, tuple[str, RosterLie]] = {
    "binds epochs that were verified": ("wrong-roster", lambda liar: liar.next_roster(2, valid_from_epoch=LAST - 1)),
    "binds the epoch only later": ("wrong-roster", lambda liar: liar.next_roster(2, valid_from_epoch=LAST + 1)),
    "leaves out a version": ("malformed", lambda liar: liar.next_roster(2, version=3)),
    "is of the same version": ("malformed", lambda liar: liar.next_roster(2, version=1)),
    "follows another one": ("malformed", lambda liar: liar.next_roster(2, previous=bytes(32))),
    "has another root": ("wrong-origin", lambda liar: liar.next_roster(2, root_key=signer_of("mallory").public_key)),
    "is another provider's": ("wrong-origin", lambda liar: liar.next_roster(2, origin=OTHER_ORIGIN)),
    "names no outbox": ("malformed", lambda liar: liar.next_roster(0)),
}


@pytest.mark.parametrize("name", ROSTER_LIES)
def test_lies_about_the_next_roster(name: str) -> None:
    code, make = ROSTER_LIES[name]
    liar = tell_story(until=LAST - 1)
    client = Client(liar, LAST)
    honest = liar.next_roster(2)
    lie = make(liar)
    liar.change_roster(honest)
    liar.commit(letter("alice", 4, b"under the new roster"))
    truth = liar.delta(BOB, client.follower.cursor)
    liar.rosters[-1] = Signed(ROSTER.encode(lie), sign_roster(lie).signature)
    liar.epochs.pop()
    liar.leaves.pop()
    liar.told = dict(liar.epochs[-1].told)
    if code != "malformed" or "outbox" not in name:
        liar.roster = lie
    liar.commit(letter("alice", 4, b"under the new roster"))
    client.refuses(liar.delta(BOB, client.follower.cursor), code)
    client.take(truth)
    assert client.texts[-1] == b"under the new roster"


def test_a_roster_that_no_record_names() -> None:
    client = Client(story(), LAST)
    offered = sign_roster(story().next_roster(2))
    client.refuses(story().delta(BOB, client.follower.cursor, lie=Lie(rosters=[offered])), "wrong-roster")
    forged = Signed(offered.body, sign_roster(story().roster).signature)
    client.refuses(story().delta(BOB, client.follower.cursor, lie=Lie(rosters=[forged])), "bad-signature")
    client.refuses(story().delta(BOB, client.follower.cursor, lie=Lie(rosters=story().rosters)), "malformed")
    client.take(story().delta(BOB, client.follower.cursor))


def test_without_any_roster() -> None:
    check_lie("no-roster", 0, rosters=[])


def test_the_state_goes_back() -> None:
    """To each earlier state, at each later epoch."""
    for n_epochs in range(1, LAST + 1):
        client = Client(story(), n_epochs)
        trusted = client.follower.trusted.state
        for earlier in story().told[BOB].histories:
            if trusted and earlier.state.hist_size < trusted.hist_size:
                lie = Lie(state=earlier.state, tail=())
                told = story().told[BOB].upto(trusted.hist_size)
                client.refuses(story().delta(BOB, client.follower.cursor, told=told, lie=lie), "mailbox-rollback")
        client.take(story().delta(BOB, client.follower.cursor))


def test_the_mailbox_vanishes() -> None:
    told = story().told[BOB].upto(3)
    check_lie("mailbox-vanished", state=b"", told=told, tail=())
    check_lie("wrong-state", 0, state=b"")


STATE_LIES: dict[str, tuple[str, dict[str, Any]]] = {
    "another generation": ("wrong-state", {"gen": 1}),
    "since another epoch": ("wrong-state", {"since_epoch": 1}),
    "another mailbox": ("wrong-state", {"mailbox": ALICE}),
    "no records": ("wrong-state", {"hist_size": 0}),
    "an epoch to come": ("wrong-state", {"last_epoch": LAST + 1}),
    "no epoch": ("wrong-state", {"last_epoch": NO_EPOCH}),
    "unknown kind": ("malformed", {"kind": 2}),
    "unknown status": ("malformed", {"status": 2}),
    "an end": ("malformed", {"until_epoch": LAST + 1}),
    "a target": ("malformed", {"target": OTHER_ORIGIN}),
    "as many records as before": ("mailbox-rollback", {"hist_size": 3}),
    "an epoch that was verified": ("mailbox-rollback", {"last_epoch": LAST - 1}),
    "as many messages as before": ("mailbox-rollback", {"total": 5}),
    "no later message": ("mailbox-rollback", {"last_seq": make_seq(4, 0, 0)}),
    "more records": ("bad-proof", {"hist_size": 5}),
    "other records": ("bad-history", {"hist_root": OTHER_ROOT}),
    "more messages": ("bad-history", {"total": 9}),
    "fewer messages": ("bad-history", {"total": 7}),
    "a later message": ("bad-history", {"last_seq": make_seq(LAST, 0, 7)}),
    "an earlier message": ("bad-history", {"last_seq": make_seq(LAST, 0, 1)}),
}


@pytest.mark.parametrize("name", STATE_LIES)
def test_lies_about_the_state(name: str) -> None:
    code, changes = STATE_LIES[name]
    state = story().told[BOB].state._replace(**changes)
    check_lie(code, state=MAILBOX_STATE.encode(state), told=None)


def test_another_state_of_the_same_size() -> None:
    """Nothing arrived for alice since epoch 5; each field that differs is a lie."""
    liar = tell_story()
    liar.commit()
    client = Client(liar, LAST + 1, ALICE)
    honest = liar.told[ALICE].state
    for changes in (
        {"hist_root": OTHER_ROOT},
        {"last_epoch": LAST - 1},
        {"last_epoch": LAST + 1},
        {"total": honest.total + 1},
        {"last_seq": make_seq(LAST, 0, 7)},
    ):
        lie = Lie(state=honest._replace(**changes))
        client.refuses(liar.delta(ALICE, client.follower.cursor, lie=lie), "mailbox-rollback")
    client.take(liar.delta(ALICE, client.follower.cursor))


def test_records_are_withheld() -> None:
    """The signed state says that there are records, and none of them comes."""
    for n_epochs in (0, 1, LAST):
        client = Client(story(), n_epochs)
        client.refuses(story().delta(BOB, client.follower.cursor, records_max=0), "withheld")
        client.take(story().delta(BOB, client.follower.cursor))


def test_nothing_ever_arrived() -> None:
    """An absent mailbox is followed like any other: it comes into being once, and not in the past."""
    client = Client(story(), LAST, DAVE)
    assert client.follower.trusted.state is None
    client.refuses(story().delta(DAVE, client.follower.cursor, lie=Lie(tail=[bytes(32)])), "wrong-state")
    client.take(story().delta(DAVE, client.follower.cursor))
