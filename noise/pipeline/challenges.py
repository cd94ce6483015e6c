"""The book of challenges: what was opened, until when, what was answered; and the task that has them answered.

Knows nothing of HTTP, or of how an actor finds its answer. The sequencer takes what has changed with every epoch: the
record commits to the map, the rows go into the store. Nothing is shown, or promised, before that epoch is durable, or a
crash would make a liar of whoever promised it. Answers are in the store alone: here are only their hashes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Annotated, Final, NamedTuple, Protocol

import trio

from noise.protocol.challenges import (
    CHALLENGE,
    CHALLENGE_RECEIPT,
    CHALLENGE_STATE,
    NO_ANSWER,
    Challenge,
    ChallengeReceipt,
    ChallengeState,
    hash_challenge,
    is_answerable,
    is_on_the_way,
)
from noise.protocol.encoding import Codec, Vec32, embedded, struct_codec
from noise.protocol.errors import DecodeError, Rejected
from noise.protocol.evidence.stage_views import CUSTODY_ANSWER, CustodyAnswer, Question
from noise.protocol.identifiers import NO_EPOCH, Actor, Role, parse_actor
from noise.protocol.state_map import MapProof, StateMap
from noise.protocol.statements import Roster
from noise.store.base import CacheRow, Store, StoreCorrupt, StoreFailed

OPEN_MAX: Final = 1024
"""Challenges that wait for an answer: after every epoch, each of them is looked after."""

TOTAL_MAX: Final = 65_536
"""Challenges in a provider's life, for none is ever taken out: 1 KiB of memory each."""


class LoggedChallenge(NamedTuple):
    """A challenge as it is stored, under its key. `answer`: an encoded CustodyAnswer; empty while it is open."""

    challenge: Annotated[bytes, embedded(CHALLENGE)]
    state: Annotated[bytes, embedded(CHALLENGE_STATE)]
    answer: Vec32


LOGGED_CHALLENGE = struct_codec(LoggedChallenge)
_LOGGED: Codec[LoggedChallenge] = LOGGED_CHALLENGE
_CHALLENGE: Codec[Challenge] = CHALLENGE
_STATE: Codec[ChallengeState] = CHALLENGE_STATE
_LOG: Final = Actor(Role.LOG, 0, 0)


class Entry(NamedTuple):
    """A challenge, encoded, and what became of it."""

    challenge: bytes
    state: ChallengeState


Item = tuple[bytes, bytes, Entry]
"""What `StateMap.update` takes: key, value hash, value."""


class Desk(Protocol):
    """Where an actor looks for its answer, among its own things."""

    async def answer(self, actor: Actor, question: Question) -> CustodyAnswer | None:
        """None: it cannot answer."""


class ChallengeBook:
    """`roster`: the one in force. Begin with `load`, for every page of the store's rows."""

    def __init__(
        self, roster: Roster, next_epoch: int, *, open_max: int = OPEN_MAX, total_max: int = TOTAL_MAX
    ) -> None:
        self.next_epoch = next_epoch
        self._roster = roster
        self._incarnation = roster.entry(_LOG).incarnation
        self._open_max = open_max
        self._total_max = total_max
        self._taken = self._shown = StateMap[Entry].empty()
        self._waiting: dict[bytes, bytes] = {}
        self._answers: dict[bytes, bytes] = {}
        self._open: dict[bytes, Challenge] = {}
        self._news = trio.Event()

    def load(self, rows: Sequence[CacheRow]) -> None:
        """Before the first `take`: a page of what is stored. Raises StoreCorrupt."""
        logged = [(row.key, *_parse_row(row)) for row in rows]
        items = [_item(key, one.challenge, state) for key, one, state in logged]
        self._taken = self._shown = self._shown.update(items)
        for key, one, state in logged:
            if state.is_open and state.deadline_epoch >= self.next_epoch:
                self._open[key] = _CHALLENGE.decode(one.challenge)

    @property
    def commitment(self) -> tuple[bytes, int]:
        """(root, count), as the last epoch's record has them."""
        return self._taken.root_hash, self._taken.count

    def open_nowait(self, challenge: bytes, roster: Roster) -> bytes:
        """The key of an encoded challenge, which is in one of the next two records, or in the book already.

        `roster`: the one in force in the challenge's epoch. Raises DecodeError, and Rejected where nobody need answer.
        """
        decoded, key = _CHALLENGE.decode(challenge), hash_challenge(challenge)
        if key in self._waiting or self._taken.get(key) is not None:
            return key
        if decoded.origin != self._roster.origin:
            raise Rejected("the challenge is addressed to another provider", code="wrong-origin")
        if not decoded.epoch < self.next_epoch:
            raise Rejected("a challenge about an epoch that is not committed yet", code="not-committed")
        if not is_on_the_way(decoded, roster):
            raise Rejected("the actor had nothing to do with this message and mailbox", code="not-asked")
        if not is_answerable(decoded.epoch, self._deadline(self.next_epoch + 1), roster, self._roster):
            raise Rejected("actors no longer keep what they had in this epoch", code="custody-ended")
        if len(self._open) + len(self._waiting) >= self._open_max:
            raise Rejected("too many challenges wait for an answer: try again later", code="challenge-quota")
        if self._taken.count + len(self._waiting) >= self._total_max:
            raise Rejected("the log has as many challenges as it may", code="challenge-quota")
        self._waiting[key] = challenge
        return key

    def answer_nowait(self, key: bytes, answer: bytes) -> None:
        """An open challenge is answered, with the next epoch. The first answer counts."""
        if key in self._open:
            self._answers.setdefault(key, answer)

    def take(self, epoch: int) -> tuple[bytes, int, list[CacheRow]]:
        """(root, count, rows that have changed) as of an epoch that is being committed."""
        rows, items = [], []
        for key, challenge in self._waiting.items():
            state = ChallengeState(epoch, self._deadline(epoch), NO_EPOCH, NO_ANSWER)
            rows.append(_make_row(key, challenge, state, b""))
            items.append(_item(key, challenge, state))
            self._open[key] = _CHALLENGE.decode(challenge)
        for key, answer in self._answers.items():
            entry = self._taken.get(key)
            if entry is not None:
                state = entry.state._replace(answered_epoch=epoch, answer_hash=hash_challenge(answer))
                rows.append(_make_row(key, entry.challenge, state, answer))
                items.append(_item(key, entry.challenge, state))
                del self._open[key]
        self._waiting.clear()
        self._answers.clear()
        self._taken = self._taken.update(items)
        for key in [key for key in self._open if self._deadline_of(key) <= epoch]:
            del self._open[key]
        return self._taken.root_hash, self._taken.count, rows

    def committed(self, next_epoch: int) -> None:
        """What was taken last is durable."""
        self.next_epoch = next_epoch
        self._shown = self._taken
        self._news.set()
        self._news = trio.Event()

    async def wait_committed(self) -> None:
        """Until the next epoch is durable."""
        await self._news.wait()

    def get(self, key: bytes) -> Entry | None:
        """As of the last durable epoch."""
        return self._shown.get(key)

    def prove(self, key: bytes) -> MapProof:
        """Of the entry, or of its absence, against the `challenges_root` of the last durable epoch's record."""
        return self._shown.prove(key)

    def receipt(self, key: bytes) -> bytes:
        """The body of a receipt for a challenge that is durable, to be signed by the log."""
        origin, actor = self._roster.origin, _LOG.encode()
        return CHALLENGE_RECEIPT.encode(ChallengeReceipt(origin, actor, self._incarnation, key, self.next_epoch))

    def open_challenges(self) -> list[tuple[bytes, Challenge]]:
        """(key, challenge) of those that can still be answered in time."""
        return list(self._open.items())

    def _deadline(self, opened_epoch: int) -> int:
        return opened_epoch + self._roster.parameters.challenge_epochs

    def _deadline_of(self, key: bytes) -> int:
        entry = self._taken.get(key)
        return entry.state.deadline_epoch if entry is not None else 0


async def load_challenges(store: Store, book: ChallengeBook) -> None:
    """Fill a new book. Raises StoreCorrupt."""
    after: bytes | None = None
    while page := await store.challenges(after):
        book.load(page)
        after = page[-1].key


async def find_answer(store: Store, key: bytes) -> bytes:
    """The stored answer to a challenge; empty: none. Raises StoreCorrupt."""
    before = max(int.from_bytes(key, "big") - 1, 0).to_bytes(32, "big")
    rows = [row for row in await store.challenges(before, 1) if row.key == key]
    return _parse_row(rows[0])[0].answer if rows else b""


async def find_custody(desk: Desk, actor: Actor, question: Question) -> CustodyAnswer | None:
    """What an actor answers; None: it cannot. Where its things are damaged, or its disk fails, it alone is silent."""
    try:
        return await desk.answer(actor, question)
    except (StoreCorrupt, StoreFailed):
        return None


async def run_answering(book: ChallengeBook, desk: Desk) -> None:
    """After each epoch, and at once, have every open challenge answered whose actor can."""
    while True:
        for key, challenge in book.open_challenges():
            answer = await find_custody(desk, parse_actor(challenge.actor), Question(challenge.seq, challenge.mailbox))
            if answer is not None:
                book.answer_nowait(key, CUSTODY_ANSWER.encode(answer))
        await book.wait_committed()


def changes_by_epoch(rows: Iterable[CacheRow]) -> dict[int, list[Item]]:
    """From all rows, what each epoch changed in the map: updates, in order, give every root. Raises StoreCorrupt."""
    changes: dict[int, list[Item]] = defaultdict(list)
    for row in rows:
        logged, state = _parse_row(row)
        asked = state._replace(answered_epoch=NO_EPOCH, answer_hash=NO_ANSWER)
        changes[state.opened_epoch].append(_item(row.key, logged.challenge, asked))
        if not state.is_open:
            changes[state.answered_epoch].append(_item(row.key, logged.challenge, state))
    return dict(changes)


def _item(key: bytes, challenge: bytes, state: ChallengeState) -> Item:
    return key, hash_challenge(_STATE.encode(state)), Entry(challenge, state)


def _make_row(key: bytes, challenge: bytes, state: ChallengeState, answer: bytes) -> CacheRow:
    return CacheRow(key, _LOGGED.encode(LoggedChallenge(challenge, _STATE.encode(state), answer)))


def _parse_row(row: CacheRow) -> tuple[LoggedChallenge, ChallengeState]:
    """Raises StoreCorrupt."""
    try:
        logged = _LOGGED.decode(row.value)
        _CHALLENGE.decode(logged.challenge)
        state = _STATE.decode(logged.state)
    except DecodeError:
        raise _damaged() from None
    is_whole = not logged.answer if state.is_open else state.answer_hash == hash_challenge(logged.answer)
    if row.key != hash_challenge(logged.challenge) or not is_whole:
        raise _damaged()
    return logged, state


def _damaged() -> StoreCorrupt:
    return StoreCorrupt("a stored challenge is damaged: restore the newest good copy and run noise fsck")
