"""The book of challenges: against a plain dictionary, over restarts, at its limits, with desks that cannot answer."""

from collections.abc import Callable
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.pipeline.challenges import (
    LOGGED_CHALLENGE,
    ChallengeBook,
    changes_by_epoch,
    find_answer,
    load_challenges,
    run_answering,
)
from noise.protocol.challenges import (
    CHALLENGE_RECEIPT,
    CHALLENGE_STATE,
    NO_CHALLENGES,
    ChallengeReceipt,
    hash_challenge,
)
from noise.protocol.errors import DecodeError, Rejected
from noise.protocol.evidence.stage_views import CUSTODY_ANSWER, CustodyAnswer, Question
from noise.protocol.identifiers import NO_EPOCH, Actor, Role, make_seq
from noise.protocol.state_map import StateMap, root_from_proof
from noise.protocol.statements import Roster
from noise.store.base import CacheRow, EpochWrite, StoreCorrupt
from noise.store.memory import MemoryStore
from tests.protocol.challenged import CUSTODY, LOG_ACTOR, PATIENCE, ask, roster_of, way_of
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, device_of

ROSTER = roster_of()
NOW = 10
BOXES = [device_of(f"device {number}") for number in range(40)]


def question(number: int, epoch: int = NOW - 1) -> bytes:
    """A challenge that may be opened: of the router, about some mailbox."""
    return ask(way_of(ROSTER, 0, BOXES[number])[1], epoch, 0, BOXES[number])


class Run:
    """A book with what it has written, as a sequencer and its store would have it."""

    def __init__(self, next_epoch: int = NOW, rows: dict[bytes, CacheRow] | None = None, **limits: int) -> None:
        self.rows = dict(rows or {})
        self.book = ChallengeBook(ROSTER, next_epoch, **limits)
        for key in sorted(self.rows):
            self.book.load([self.rows[key]])
        self.roots: dict[int, tuple[bytes, int]] = {}

    def open(self, challenge: bytes, roster: Roster = ROSTER) -> bytes:
        return self.book.open_nowait(challenge, roster)

    def commit(self) -> list[CacheRow]:
        """One epoch."""
        epoch = self.book.next_epoch
        root, count, rows = self.book.take(epoch)
        self.roots[epoch] = (root, count)
        self.rows |= {row.key: row for row in rows}
        self.book.committed(epoch + 1)
        return rows

    def restarted(self) -> "Run":
        return Run(self.book.next_epoch, self.rows)


def state_of(row: CacheRow) -> tuple[int, int, int]:
    return CHALLENGE_STATE.decode(LOGGED_CHALLENGE.decode(row.value).state)[:3]


def test_an_empty_book() -> None:
    run = Run()
    assert run.book.take(NOW) == (NO_CHALLENGES, 0, [])
    assert run.book.get(bytes(32)) is None
    assert run.book.open_challenges() == []
    assert run.book.commitment == (NO_CHALLENGES, 0)


def test_a_challenge_from_its_opening_to_its_answer() -> None:
    run = Run()
    key = run.open(question(0))
    assert key == hash_challenge(question(0))
    assert run.book.open_challenges() == []  # nobody answers what is not in the log
    (row,) = run.commit()
    assert state_of(row) == (NOW, NOW + PATIENCE, NO_EPOCH)
    assert [one for one, _ in run.book.open_challenges()] == [key]
    assert run.commit() == []
    run.book.answer_nowait(key, b"the answer")
    assert run.book.open_challenges() != []
    (row,) = run.commit()
    assert row.key == key
    assert state_of(row) == (NOW, NOW + PATIENCE, NOW + 2)
    assert LOGGED_CHALLENGE.decode(row.value).answer == b"the answer"
    assert run.book.open_challenges() == []
    assert run.commit() == []


def test_nothing_is_shown_or_promised_before_it_is_durable() -> None:
    """Or a crash would make a lie of it."""
    run = Run()
    other = run.open(question(1))
    run.commit()
    before, _ = run.roots[NOW]
    key = run.open(question(0))
    root, count, _ = run.book.take(NOW + 1)
    assert run.book.get(key) is None
    assert root_from_proof(key, None, run.book.prove(key)) == before
    run.book.committed(NOW + 2)
    entry = run.book.get(key)
    assert entry is not None and entry.challenge == question(0)
    value_hash = hash_challenge(CHALLENGE_STATE.encode(entry.state))
    assert (root_from_proof(key, value_hash, run.book.prove(key)), count) == (root, 2)
    run.book.answer_nowait(key, b"x")
    run.book.answer_nowait(other, b"y")
    run.book.take(NOW + 2)
    assert run.book.get(key) == entry
    assert root_from_proof(key, value_hash, run.book.prove(key)) == root


def test_a_receipt_promises_what_is_so() -> None:
    """Whenever it is made: the record that it names has the challenge."""
    run = Run()
    run.open(question(1))
    run.commit()
    for _ in range(3):
        receipt = CHALLENGE_RECEIPT.decode(run.book.receipt(hash_challenge(question(1))))
        assert receipt == ChallengeReceipt(
            ORIGIN, LOG_ACTOR.encode(), 0, hash_challenge(question(1)), run.book.next_epoch
        )
        run.commit()
        assert run.roots[receipt.by_epoch][1] == 1


def test_the_same_challenge_is_opened_once() -> None:
    run = Run()
    keys = {run.open(question(0)) for _ in range(3)}
    assert len(run.commit()) == 1
    keys |= {run.open(question(0)) for _ in range(3)}
    assert run.commit() == []
    run.book.answer_nowait(hash_challenge(question(0)), b"x")
    run.commit()
    keys |= {run.open(question(0))}
    assert run.commit() == []
    assert len(keys) == 1


def test_the_first_answer_counts_and_only_open_challenges_take_one() -> None:
    run = Run()
    key = run.open(question(0))
    run.book.answer_nowait(key, b"too early")
    run.book.answer_nowait(bytes(32), b"to nothing")
    run.commit()
    run.book.answer_nowait(key, b"first")
    run.book.answer_nowait(key, b"second")
    run.commit()
    run.book.answer_nowait(key, b"third")
    assert run.commit() == []
    assert LOGGED_CHALLENGE.decode(run.rows[key].value).answer == b"first"


@pytest.mark.parametrize("epochs", range(1, PATIENCE + 3))
def test_answers_count_until_the_deadline(epochs: int) -> None:
    run = Run()
    key = run.open(question(0))
    for _ in range(epochs):
        run.commit()
    run.book.answer_nowait(key, b"x")
    run.commit()
    answered = state_of(run.rows[key])[2]
    assert answered == (NOW + epochs if epochs <= PATIENCE else NO_EPOCH)
    assert run.book.open_challenges() == []


def test_what_nobody_need_answer_is_refused() -> None:
    way = way_of(ROSTER, 0, BOXES[0])
    run = Run(next_epoch=2 * CUSTODY)
    oldest = 2 * CUSTODY + 1 + PATIENCE - CUSTODY
    for challenge, code in (
        (ask(way[0], 30, 0, BOXES[0], origin=OTHER_ORIGIN), "wrong-origin"),
        (ask(way[0], 2 * CUSTODY, 0, BOXES[0]), "not-committed"),
        (ask(way[0], 2**64 - 1, 0, BOXES[0]), "not-committed"),
        (ask(Actor(Role.SEQUENCER, 0, 0), 30, 0, BOXES[0]), "not-asked"),
        (ask(Actor(Role.ROUTER, 0, 1), 30, 0, BOXES[0]), "not-asked"),
        (ask(way[0], 30, 9, BOXES[0]), "not-asked"),
        (ask(way[0], 30, 0, BOXES[0], incarnation=1), "not-asked"),
        (ask(way[0], oldest - 1, 0, BOXES[0]), "custody-ended"),
        (ask(way[0], 0, 0, BOXES[0]), "custody-ended"),
    ):
        with pytest.raises(Rejected) as caught:
            run.open(challenge)
        assert caught.value.code == code
    for data in (b"", b"x", ask(way[0], 30)[:-1], ask(way[0], 30) + b"\0", ask(way[0], 30, epoch=31)):
        with pytest.raises(DecodeError):
            run.open(data)
    run.open(ask(way[0], oldest, 0, BOXES[0]))
    with pytest.raises(Rejected, match="no longer keep"):
        run.open(ask(way[1], oldest, 0, BOXES[0]), roster_of(custody=CUSTODY - 1))
    assert len(run.commit()) == 1


def test_an_actor_keeps_what_it_is_asked_for_until_the_deadline() -> None:
    """The oldest epoch that may be asked about, in the latest record in which it may be opened."""
    for next_epoch in (2 * CUSTODY, 2 * CUSTODY + 1):
        run = Run(next_epoch)
        run.book.take(next_epoch)  # the challenge just misses this one
        key = run.open(question(0, next_epoch + 1 + PATIENCE - CUSTODY))
        run.book.committed(next_epoch + 1)
        run.commit()
        deadline = state_of(run.rows[key])[1]
        pruned_before = deadline - CUSTODY  # by the epoch of the deadline
        assert next_epoch + 1 + PATIENCE - CUSTODY >= pruned_before


def test_a_book_is_bounded() -> None:
    run = Run(open_max=3, total_max=8)

    def refused(number: int) -> bool:
        try:
            run.open(question(number))
        except Rejected as error:
            assert error.code == "challenge-quota"
            return True
        return False

    assert [refused(number) for number in range(5)] == [False, False, False, True, True]
    run.commit()
    assert [refused(number) for number in range(5)] == [False, False, False, True, True]
    run.book.answer_nowait(hash_challenge(question(0)), b"x")
    run.commit()
    assert [refused(number) for number in range(5)] == [False, False, False, False, True]
    for _ in range(PATIENCE + 1):
        run.commit()  # what nobody answers does not keep others from asking
    assert [refused(number) for number in range(9)] == [False] * 7 + [True, True]
    for _ in range(PATIENCE + 1):
        run.commit()
    assert [refused(number) for number in range(10)] == [False] * 8 + [True, True]


def test_a_restart_goes_on_with_what_was_open() -> None:
    run = Run()
    for number in range(3):
        run.open(question(number))
    run.commit()
    run.book.answer_nowait(hash_challenge(question(0)), b"x")
    run.commit()
    run.open(question(4))  # lost: nobody was promised anything
    again = run.restarted()
    again.commit()
    assert again.roots[again.book.next_epoch - 1] == run.roots[again.book.next_epoch - 2]
    assert sorted(again.book.open_challenges()) == sorted(run.book.open_challenges())
    for number in (0, 1, 2):
        assert again.book.get(hash_challenge(question(number))) == run.book.get(hash_challenge(question(number)))
    later = Run(NOW + PATIENCE + 1, run.rows)
    assert later.book.open_challenges() == []
    assert len(Run(NOW + PATIENCE, run.rows).book.open_challenges()) == 2


def test_damaged_rows_are_noticed() -> None:
    run = Run()
    run.open(question(0))
    run.open(question(1))
    run.commit()
    run.book.answer_nowait(hash_challenge(question(0)), b"answer")
    run.commit()
    for key, row in run.rows.items():
        logged = LOGGED_CHALLENGE.decode(row.value)
        other = next(one for one in run.rows.values() if one is not row)
        for damaged in (
            row._replace(key=bytes(32)),
            row._replace(value=b""),
            row._replace(value=row.value[:-1]),
            row._replace(value=other.value),
            row._replace(value=LOGGED_CHALLENGE.encode(logged._replace(answer=b"another"))),
            row._replace(value=LOGGED_CHALLENGE.encode(logged._replace(state=b"x"))),
            row._replace(value=LOGGED_CHALLENGE.encode(logged._replace(challenge=b""))),
            row._replace(key=hash_challenge(b"x"), value=LOGGED_CHALLENGE.encode(logged._replace(challenge=b"x"))),
        ):
            with pytest.raises(StoreCorrupt):
                Run(rows=run.rows | {key: damaged})
            with pytest.raises(StoreCorrupt):
                changes_by_epoch([damaged])


@settings(max_examples=40)
@given(st.randoms(use_true_random=False))
def test_any_course_of_events(random: Random) -> None:
    """Roots against maps made anew from a dictionary, over restarts; and replayed from the rows of the end alone."""
    run, known, answered = Run(), dict[bytes, bytes](), set[bytes]()
    roots: dict[int, tuple[bytes, int]] = {}
    for _ in range(random.randrange(1, 12)):
        for number in random.sample(range(len(BOXES)), random.randrange(4)):
            run.open(question(number, random.randrange(NOW - 3, NOW)))
        for key, _ in run.book.open_challenges():
            if random.random() < 0.4:
                run.book.answer_nowait(key, b"answer to " + key)
                answered.add(key)
        for row in run.commit():
            known[row.key] = hash_challenge(LOGGED_CHALLENGE.decode(row.value).state)
        naive = StateMap[None].empty().update([(key, value, None) for key, value in known.items()])
        roots[run.book.next_epoch - 1] = (naive.root_hash, naive.count)
        assert run.roots[run.book.next_epoch - 1] == roots[run.book.next_epoch - 1]
        if random.random() < 0.3:
            run = run.restarted()
        assert run.book.commitment == roots[run.book.next_epoch - 1]
    assert {key for key in known if state_of(run.rows[key])[2] != NO_EPOCH} == answered
    changes, states = changes_by_epoch(run.rows.values()), StateMap[object].empty()
    assert set(changes) <= set(roots)
    for epoch, root in roots.items():
        states = states.update(changes.get(epoch, []))
        assert (states.root_hash, states.count) == root


# The store


async def store_with(run: Run) -> MemoryStore:
    store = MemoryStore()
    rows = list(run.rows.values())
    await store.commit_epoch(EpochWrite(0, b"", bytes(32), None, b"", [], [], [], [], 0, [], rows))
    return store


async def test_a_book_and_its_answers_in_a_store() -> None:
    run = Run()
    for number in range(30):
        run.open(question(number))
    run.commit()
    for number in range(0, 30, 2):
        run.book.answer_nowait(hash_challenge(question(number)), b"answer %d" % number)
    run.commit()
    store = await store_with(run)
    book = ChallengeBook(ROSTER, run.book.next_epoch)
    await load_challenges(store, book)
    assert book.take(run.book.next_epoch) == (*run.roots[run.book.next_epoch - 1], [])
    for number in range(31):
        answer = await find_answer(store, hash_challenge(question(number)))
        assert answer == (b"answer %d" % number if number < 30 and number % 2 == 0 else b"")
    before = [(int.from_bytes(key, "big") - 1).to_bytes(32, "big") for key in run.rows]
    for key in (bytes(32), b"\xff" * 32, bytes(31) + b"\1", *before):
        assert await find_answer(store, key) == b""


# The task


class Clerk:
    """Answers as it is told, and remembers whom it was asked about."""

    def __init__(self, answer: Callable[[Question], CustodyAnswer | None]) -> None:
        self._answer = answer
        self.asked: list[tuple[Actor, bytes]] = []

    async def answer(self, actor: Actor, question: Question) -> CustodyAnswer | None:
        await trio.lowlevel.checkpoint()
        self.asked.append((actor, question.mailbox))
        return self._answer(question)


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_open_challenges_are_answered_by_those_who_can() -> None:
    """After every epoch; those who cannot are asked again until the deadline, and never after it."""
    run = Run()
    mute, damaged = BOXES[1], BOXES[2]

    def answer(question: Question) -> CustodyAnswer | None:
        if question.mailbox == damaged:
            raise StoreCorrupt("rotten")
        return None if question.mailbox == mute else CustodyAnswer((), question, ())

    clerk = Clerk(answer)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_answering, run.book, clerk)
            await settle()
            for number in range(4):
                run.open(question(number))
            await settle()
            assert clerk.asked == []
            run.commit()
            await settle()
            assert len(clerk.asked) == 4
            for _ in range(PATIENCE + 3):
                run.commit()
                await settle()
            nursery.cancel_scope.cancel()
    answered = {number: state_of(run.rows[hash_challenge(question(number))])[2] for number in range(4)}
    assert answered == {0: NOW + 1, 1: NO_EPOCH, 2: NO_EPOCH, 3: NOW + 1}
    shown = CustodyAnswer((), Question(make_seq(NOW - 1, 0, 0), BOXES[3]), ())
    assert LOGGED_CHALLENGE.decode(run.rows[hash_challenge(question(3))].value).answer == CUSTODY_ANSWER.encode(shown)
    assert [mailbox for _, mailbox in clerk.asked].count(mute) == PATIENCE
    assert [mailbox for _, mailbox in clerk.asked].count(BOXES[0]) == 1
    assert set(clerk.asked) == {(way_of(ROSTER, 0, BOXES[number])[1], BOXES[number]) for number in range(4)}


async def test_whoever_waits_for_an_epoch_is_woken_by_it() -> None:
    run = Run()
    seen: list[int] = []

    async def wait() -> None:
        while run.book.get(hash_challenge(question(0))) is None:
            await run.book.wait_committed()
        seen.append(run.book.next_epoch)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await settle()
            run.commit()
            await settle()
            run.open(question(0))
            run.commit()
    assert seen == [NOW + 2]
