"""Challenges as structures, and who may be asked for what."""

from typing import Any

import pytest

from noise.protocol.challenges import (
    CHALLENGE,
    CHALLENGE_STATE,
    NO_ANSWER,
    NO_CHALLENGES,
    Challenge,
    ChallengeState,
    hash_challenge,
    is_answerable,
    is_on_the_way,
)
from noise.protocol.errors import DecodeError
from noise.protocol.identifiers import NO_EPOCH, Actor, Role, make_seq, parse_actor
from noise.protocol.signing import tag
from noise.protocol.state_map import StateMap
from noise.protocol.statements import ROSTER
from tests.protocol.challenged import BOB, ask, opened_in, roster_of, way_of
from tests.vectors.cast import ORIGIN, device_of


def test_an_empty_book_is_an_empty_map() -> None:
    assert StateMap[bytes].empty().root_hash == NO_CHALLENGES


def test_a_key_is_of_all_that_is_asked() -> None:
    challenge = CHALLENGE.decode(ask(Actor(Role.SEQUENCER, 0, 0), 7, 1))
    keys = {
        hash_challenge(CHALLENGE.encode(changed))
        for changed in (
            challenge,
            challenge._replace(origin=bytes(32)),
            challenge._replace(actor=Actor(Role.LOG, 0, 0).encode()),
            challenge._replace(incarnation=1),
            challenge._replace(seq=make_seq(7, 1, 1)),
            challenge._replace(seq=make_seq(7, 2, 0)),
            challenge._replace(mailbox=ORIGIN),
        )
    }
    assert len(keys) == 7
    assert tag("h/challenge") != tag("h/complaint") != tag("sig/challenge")


def test_a_challenge_is_about_the_epoch_of_its_seq() -> None:
    for epoch in (6, 8, NO_EPOCH):
        with pytest.raises(DecodeError):
            CHALLENGE.decode(ask(Actor(Role.SEQUENCER, 0, 0), 7, epoch=epoch))


@pytest.mark.parametrize(
    "state",
    [
        (5, 9, NO_EPOCH, NO_ANSWER),
        (5, 5, NO_EPOCH, NO_ANSWER),
        (5, 9, 6, BOB),
        (5, 9, 9, BOB),
        (5, 9, 10, BOB),
    ],
)
def test_states_that_can_be(state: Any) -> None:
    assert CHALLENGE_STATE.decode(CHALLENGE_STATE.encode(ChallengeState(*state))) == ChallengeState(*state)
    assert ChallengeState(*state).is_open == (state[3] == NO_ANSWER)


@pytest.mark.parametrize(
    "state",
    [
        (5, 4, NO_EPOCH, NO_ANSWER),  # due before it was opened
        (5, 9, 5, BOB),  # answered before anybody could know of it
        (5, 9, 4, BOB),
        (5, 9, NO_EPOCH, BOB),  # open, and answered
        (5, 9, 7, NO_ANSWER),  # answered with nothing
        (NO_EPOCH, NO_EPOCH, NO_EPOCH, NO_ANSWER),
    ],
)
def test_states_that_cannot_be(state: Any) -> None:
    with pytest.raises(DecodeError):
        CHALLENGE_STATE.decode(CHALLENGE_STATE.encode(ChallengeState(*state)))


@pytest.mark.parametrize("first_lane", [0, 5])
def test_four_actors_are_on_the_way_of_a_message(first_lane: int) -> None:
    """Whatever the lanes are called: a recovered inbox has another lane than its number."""
    roster = roster_of(n_inboxes=3, n_outboxes=3, first_lane=first_lane)
    ROSTER.decode(ROSTER.encode(roster))
    mailboxes = [device_of(name) for name in ("alice", "bob", "carol", "dave", "erin")]
    assert len({way_of(roster, first_lane, mailbox)[3] for mailbox in mailboxes}) == 3
    for lane in range(first_lane, first_lane + 3):
        for mailbox in mailboxes:
            way = way_of(roster, lane, mailbox)
            for entry in roster.actors:
                actor = parse_actor(entry.actor)
                challenge = CHALLENGE.decode(ask(actor, 7, lane, mailbox))
                assert is_on_the_way(challenge, roster) == (actor in way), (lane, actor)
                assert not is_on_the_way(challenge._replace(incarnation=1), roster)


def test_nobody_is_on_the_way_through_lanes_and_actors_that_are_not() -> None:
    roster = roster_of(first_lane=1)
    for lane in (0, 3, 65_535):
        for entry in roster.actors:
            actor = parse_actor(entry.actor)
            is_behind = actor in way_of(roster, 1, BOB)[2:]  # these can say that they have nothing of such a lane
            assert is_on_the_way(CHALLENGE.decode(ask(actor, 7, lane)), roster) == is_behind
    for actor in (b"\0" * 5, b"\xff" * 5, Actor(Role.ROUTER, 0, 2).encode(), Actor(Role.ROUTER, 1, 0).encode()):
        assert not is_on_the_way(Challenge(ORIGIN, actor, 0, 7, make_seq(7, 1, 0), BOB), roster)


def test_actors_answer_for_what_they_keep() -> None:
    long, short = roster_of(custody=20), roster_of(custody=10)
    for rosters, kept in (((long,), 20), ((short,), 10), ((long, short), 10), ((short, long), 10)):
        assert is_answerable(7, 7 + kept, *rosters)
        assert not is_answerable(7, 8 + kept, *rosters)


def test_a_state_says_what_is_open() -> None:
    assert opened_in(3).is_open
    assert not opened_in(3, answered_epoch=4, answer_hash=BOB).is_open
