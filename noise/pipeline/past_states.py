"""One mailbox's state under a committed head: of the newest epoch, or, made again, of an old one.

Knows nothing of questions. Only the newest states are kept. But whoever signed an old epoch under a key that signs no
more can be heard under that key alone, and so the map of its last epoch is made again from the newest: each history
record tells the size, the root and the epoch of the one before it.

An old map costs a pass over all mailboxes and over all history rows since, and as much memory as the outbox's own;
the last one that was made is remembered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import trio

from noise.pipeline.batches import CommittedEpoch, CommittedOutbox
from noise.pipeline.outbox import check_record, parse_picks
from noise.protocol.delta import DELTA_SHARED, DeltaShared, SignedHead
from noise.protocol.encoding import Codec
from noise.protocol.history import HISTORY_RECORD, MAILBOX_STATE, History, MailboxState, hash_state, map_key_of
from noise.protocol.identifiers import Actor, Role
from noise.protocol.merkle import Tree
from noise.protocol.placement import Rendezvous, actors_of
from noise.protocol.state_map import MapProof, StateMap
from noise.protocol.statements import Roster, hash_statement, statement_leaf_hash
from noise.store.base import HistoryRow, Store, StoreCorrupt

_SHARED: Codec[DeltaShared] = DELTA_SHARED
_DAMAGED = "the states of an old epoch cannot be made again: run noise fsck"


class Snapshot(NamedTuple):
    """A mailbox's state (None: there is none) under a committed head, and the path to it in the head's map."""

    shared: DeltaShared
    state: MailboxState | None
    proof: MapProof


def take_snapshot(outbox: CommittedOutbox, mailbox: bytes) -> Snapshot:
    """Of the newest epoch."""
    key = map_key_of(mailbox)
    history = outbox.states.get(key)
    return Snapshot(_SHARED.decode(outbox.shared), None if history is None else history.state, outbox.states.prove(key))


@dataclass(slots=True)
class _Undone:
    """What a mailbox received since: its first record then, and how many messages in all."""

    first: HistoryRow
    n_messages: int


class _Past(NamedTuple):
    """An outbox's map after an old epoch."""

    epoch: int
    outbox: Actor
    shared: DeltaShared
    states: StateMap[MailboxState]


class PastStates:
    """Makes the maps of old epochs, one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: _Past | None = None

    async def take_snapshot(
        self, epoch: int, roster: Roster, outbox: Actor, mailbox: bytes, view: CommittedEpoch
    ) -> Snapshot:
        """Under the head that `outbox` signed for `epoch`, in which `roster` was in force. `view`: the newest epoch.

        Whether it leads to that head's root, whoever shows it must check. Raises StoreCorrupt.
        """
        past = self._known
        if past is None or (past.epoch, past.outbox) != (epoch, outbox):
            past = self._known = await self._make(epoch, roster, outbox, view)
        key = map_key_of(mailbox)
        return Snapshot(past.shared, past.states.get(key), past.states.prove(key))

    async def _make(self, epoch: int, roster: Roster, outbox: Actor, view: CommittedEpoch) -> _Past:
        shared = await self._shared(epoch, roster, outbox)
        undone = await self._undone(epoch, view.epoch)
        last_seqs = {}
        for mailbox, one in undone.items():
            if one.first.prev_epoch >= 0:
                [before] = await self._store.history_rows(mailbox, [one.first.prev_epoch])
                last_seqs[mailbox] = parse_picks(before)[0]
        numbers = Rendezvous(actors_of(roster, Role.OUTBOX))
        make = partial(_undo, [one.states for one in view.outboxes], undone, last_seqs, numbers, outbox.number)
        try:
            states = await trio.to_thread.run_sync(make)
        except (OverflowError, ValueError):  # states and records contradict each other
            raise StoreCorrupt(_DAMAGED) from None
        return _Past(epoch, outbox, shared, states)

    async def _shared(self, epoch: int, roster: Roster, outbox: Actor) -> DeltaShared:
        """What deltas of that epoch and outbox shared."""
        row = await self._store.epoch_row(epoch)
        signing = {(entry.actor, entry.incarnation) for entry in roster.actors}
        rows = [one for one in await self._store.statements(epoch) if (one.actor, one.incarnation) in signing]
        actors = [one.actor for one in rows]
        if row is None or actors != roster.signers():
            raise StoreCorrupt(_DAMAGED)
        place = actors.index(outbox.encode())
        tree = Tree([statement_leaf_hash(one.actor, hash_statement(one.actor, one.body)) for one in rows])
        head = SignedHead(rows[place].body, rows[place].signature)
        return DeltaShared(row.checkpoint, row.record, head, tuple(tree.inclusion(place)))

    async def _undone(self, epoch: int, last_epoch: int) -> dict[bytes, _Undone]:
        """What came after `epoch`, up to `last_epoch`, by mailbox."""
        undone: dict[bytes, _Undone] = {}
        after: tuple[int, bytes] | None = None
        while page := await self._store.history_since(epoch + 1, after):
            for row in page:
                if row.epoch > last_epoch:
                    return undone
                check_record(row)
                one = undone.setdefault(row.mailbox, _Undone(row, 0))
                one.n_messages += HISTORY_RECORD.decode(row.record).n_messages
            after = (page[-1].epoch, page[-1].mailbox)
        return undone


def _undo(
    maps: Sequence[StateMap[History]],
    undone: dict[bytes, _Undone],
    last_seqs: dict[bytes, bytes],
    numbers: Rendezvous,
    number: int,
) -> StateMap[MailboxState]:
    """The states of those mailboxes that `numbers` places there, without what is undone. `last_seqs`: of those that
    had received anything before."""
    changes = []
    for states in maps:
        for key, value_hash, history in states.items():
            mailbox = history.state.mailbox
            if numbers.number(mailbox) != number:
                continue
            if mailbox not in undone:
                changes.append((key, value_hash, history.state))
            elif mailbox in last_seqs:
                state = _before(history.state, undone[mailbox], last_seqs[mailbox])
                changes.append((key, hash_state(MAILBOX_STATE.encode(state)), state))
    return StateMap[MailboxState].empty().update(changes)


def _before(state: MailboxState, undone: _Undone, last_seq: bytes) -> MailboxState:
    """A state without what is undone, which is not all that the mailbox ever received."""
    record = HISTORY_RECORD.decode(undone.first.record)
    return state._replace(
        hist_size=record.k,
        hist_root=record.prev_root,
        last_epoch=record.prev_epoch,
        last_seq=last_seq,
        total=state.total - undone.n_messages,
    )
