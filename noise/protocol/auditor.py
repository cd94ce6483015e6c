"""Replays the stages of a provider over what an auditor is shown, and compares with what each of them signed.

Knows nothing of where pages and statements come from, and nobody signs a page. An actor is named only where what it
signed contradicts what it signed itself, or what it names as its input. So all of an epoch's signatures are verified
first. Every stage's output is a function of what the one before it signed. What does not fit otherwise is "provider":
whoever shows it, or an actor that signed twice.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

from noise.protocol.audit_page import AuditLane, AuditPage
from noise.protocol.checkpoint import Checkpoint, log_name_of, verify_checkpoint
from noise.protocol.encoding import Codec
from noise.protocol.envelope import check_sender
from noise.protocol.errors import DecodeError, NoiseError, ProofError
from noise.protocol.history import History
from noise.protocol.identifiers import Actor, Role, make_seqs, parse_actor
from noise.protocol.log_pages import EpochStatements
from noise.protocol.merkle import EMPTY_RANGE, EMPTY_ROOT, CompactRange, leaf_hash, leaf_hashes, tree_root
from noise.protocol.placement import Rendezvous, actors_of
from noise.protocol.replayed import Delivered, ReplayedMessage, advance, deliver, make_items, merge, open_messages
from noise.protocol.signing import Signed
from noise.protocol.stages import entry_hash, item_hash, items_root, receiver_of, router_of
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MANIFEST,
    MERGE_SHEET,
    MESSAGE_LEAF,
    NO_OVERRIDES,
    ROUTE_SHEET,
    STATEMENTS,
    EpochHead,
    EpochOpen,
    EpochRecord,
    Manifest,
    MergeSheet,
    Roster,
    RouteSheet,
    check_successor,
    hash_roster,
    hash_statement,
    open_roster,
    statement_leaf_hash,
    verify_statement,
)

PROVIDER = "provider"
LOG = Actor(Role.LOG, 0, 0)
SEQUENCER = Actor(Role.SEQUENCER, 0, 0)

_BODIES: dict[Role, Codec[Any]] = {
    Role.INBOX: MANIFEST,
    Role.ROUTER: ROUTE_SHEET,
    Role.RECEIVER: MERGE_SHEET,
    Role.OUTBOX: EPOCH_HEAD,
    Role.SEQUENCER: EPOCH_OPEN,
    Role.LOG: EPOCH_RECORD,
}
"""What each role signs, the log by its checkpoint."""

_GIVEN: dict[Role, frozenset[str]] = {
    Role.INBOX: frozenset({"epoch", "lane", "n_messages", "root"}),
    Role.ROUTER: frozenset({"epoch", "roster_hash", "manifest_hash"}),
    Role.RECEIVER: frozenset({"epoch", "roster_hash", "inputs"}),
    Role.OUTBOX: frozenset({"epoch", "roster_hash", "merge_sheet_hash"}),
    Role.SEQUENCER: frozenset({"epoch", "roster_hash"}),
    Role.LOG: frozenset({"roster_hash", "statements_root"}),
}
"""The fields by which each role says what it made a statement from. If that is not what is shown, no input of it is
known: the statement may be an old one, the page a wrong one, or the actor before may have signed two."""

_INHERITED = frozenset({"map_root", "map_count"})
"""Of an outbox's first head under another roster: the states of others, which it may have been given wrong."""


class AuditFailed(NoiseError):
    """An output is not what its input makes. `actor`: who signed it, or "provider" if that is nobody's signed word."""

    default_code = "audit-failed"

    def __init__(self, actor: str, epoch: int, detail: str) -> None:
        super().__init__(f"epoch {epoch}, {actor}: {detail}")
        self.actor = actor
        self.epoch = epoch


class AuditCounts(NamedTuple):
    """What was replayed."""

    epochs: int = 0
    messages: int = 0
    deliveries: int = 0
    signatures: int = 0


class _Epoch(NamedTuple):
    """What one epoch is checked by, all of it signed by whom it names. `bodies`: by actor. `hashes`: of the statements
    that were found right. `log`: with the epoch's record. `has_heirs`: outboxes begin with states of others."""

    epoch: int
    roster: Roster
    roster_hash: bytes
    bodies: dict[bytes, bytes]
    hashes: dict[bytes, bytes]
    log: CompactRange
    has_heirs: bool


class Auditor:
    """The provider after the epochs that were replayed. Of no more use after an error."""

    def __init__(self, origin: bytes, rosters: Sequence[Signed]) -> None:
        """`rosters`: all there are, in order, and one at least. Raises DecodeError or SignatureError."""
        if not rosters:
            raise DecodeError("a provider has a roster", code="no-roster")
        self.counts = AuditCounts()
        self._origin = origin
        self._rosters = [(hash_roster(signed.body), open_roster(signed, origin)) for signed in rosters]
        for before, (_, roster) in zip(rosters, self._rosters[1:], strict=False):
            check_successor(before, roster)
        self._log = EMPTY_RANGE
        self._time_ms = 0
        self._challenges_count = 0
        self._roster = self._rosters[0][1]
        self._roster_hash = b""
        self._placement = Rendezvous(())
        self._maps: list[StateMap[History]] = []
        self._previous: dict[tuple[bytes, int], bytes] = {}
        self._counters: dict[bytes, tuple[int, bytes]] = {}

    @property
    def next_epoch(self) -> int:
        """The one to replay next: how many were."""
        return self._log.size

    def check_epoch(self, statements: EpochStatements, page: AuditPage) -> None:
        """Replay the next epoch. Raises AuditFailed."""
        turn = self._begin(statements)
        lanes = self._check_inboxes(turn, page)
        delivered = [deliver(messages) for messages in lanes]
        self._check_routers(turn, delivered)
        n_deliveries = self._check_receivers_and_outboxes(turn, merge(delivered))
        self._check_statement(turn, SEQUENCER, self._make_open(turn))
        self._check_record(turn, sum(map(len, lanes)))
        before = self.counts
        self.counts = AuditCounts(
            before.epochs + 1,
            before.messages + sum(map(len, lanes)),
            before.deliveries + n_deliveries,
            before.signatures + len(turn.hashes) + 1,
        )

    def check_checkpoint(self, note: bytes) -> None:
        """The log that was replayed is the one of this note. Raises AuditFailed."""
        epoch = max(self.next_epoch, 1) - 1
        with _naming(PROVIDER, epoch):
            checkpoint = self._open_note(note, self._roster)
            if checkpoint.size != self._log.size:
                raise ProofError("its newest checkpoint is of another size than the log that it shows")
        if checkpoint.root != self._log.root():
            raise AuditFailed(str(LOG), epoch, "it signed two checkpoints of one size")

    def _begin(self, statements: EpochStatements) -> _Epoch:
        """The epoch's roster and statements; mailboxes are placed anew when the roster is another than before."""
        epoch = self.next_epoch
        with _naming(PROVIDER, epoch):
            record = EPOCH_RECORD.decode(statements.record)
            roster = self._roster_of(record, epoch)
            log = self._log.append(leaf_hash(statements.record))
            checkpoint = self._open_note(statements.note.encode(), roster)
            if (checkpoint.size, checkpoint.root) != (log.size, log.root()):
                raise ProofError("its checkpoint is not that of the epochs' records")
            bodies = _verify_all(statements, roster) | {LOG.encode(): statements.record}
        has_heirs = False
        if record.roster_hash != self._roster_hash:
            self._roster, self._roster_hash = roster, record.roster_hash
            outboxes = actors_of(roster, Role.OUTBOX)
            self._placement = Rendezvous(outboxes)
            has_heirs = any(states.count for states in self._maps)
            kept = list(chain.from_iterable(states.items() for states in self._maps))
            items = [[i for i in kept if self._placement.actor(i[2].state.mailbox) == outbox] for outbox in outboxes]
            self._maps = [StateMap[History].empty().update(one) for one in items]
        return _Epoch(epoch, roster, record.roster_hash, bodies, {}, log, has_heirs)

    def _roster_of(self, record: EpochRecord, epoch: int) -> Roster:
        """A roster that is withheld, one that came late and one that was not obeyed look alike. Raises ProofError."""
        roster = next((r for h, r in self._rosters if h == record.roster_hash), None)
        if roster is None or roster.valid_from_epoch > epoch:
            raise ProofError("its record names a roster that is not shown or did not bind the epoch, in: roster_hash")
        if any(r.valid_from_epoch <= epoch and r.version > roster.version for _, r in self._rosters):
            raise ProofError("a newer roster binds an epoch that ran under an older one")
        return roster

    def _open_note(self, note: bytes, roster: Roster) -> Checkpoint:
        return verify_checkpoint(note, log_name_of(self._origin), roster.entry(LOG).key)

    def _check(self, turn: _Epoch, actor: Actor, made: Any) -> None:
        """What an actor signed is what was made again, field by field. Raises AuditFailed."""
        noun = type(made).__name__
        with _naming(actor, turn.epoch):
            said = _BODIES[actor.role].decode(turn.bodies[actor.encode()])
        wrong = [name for name, a, b in zip(made._fields, said, made, strict=True) if a != b]
        given = _GIVEN[actor.role] | (_INHERITED if turn.has_heirs and actor.role == Role.OUTBOX else set())
        if not given.isdisjoint(wrong):
            detail = f"the {noun} of {actor} was made from something else than is shown, in: {', '.join(wrong)}"
            raise AuditFailed(PROVIDER, turn.epoch, detail)
        if wrong:
            detail = f"its {noun} is not what its input makes, in: {', '.join(wrong)}"
            raise AuditFailed(str(actor), turn.epoch, detail)

    def _check_statement(self, turn: _Epoch, actor: Actor, made: Any) -> None:
        """Like `_check`. Others may name it from here on."""
        self._check(turn, actor, made)
        body_hash = hash_statement(actor.encode(), turn.bodies[actor.encode()])
        turn.hashes[actor.encode()] = self._previous[actor.encode(), made.incarnation] = body_hash

    def _slot(self, turn: _Epoch, actor: Actor) -> tuple[bytes, bytes, int, int]:
        """What every statement begins with."""
        return self._origin, actor.encode(), turn.roster.entry(actor).incarnation, turn.epoch

    def _before(self, turn: _Epoch, actor: Actor) -> bytes:
        """Hash of the last statement of this incarnation, or zeros."""
        return self._previous.get((actor.encode(), turn.roster.entry(actor).incarnation), bytes(32))

    def _check_inboxes(self, turn: _Epoch, page: AuditPage) -> list[list[ReplayedMessage]]:
        """The messages of each lane of the roster, in order."""
        if [shown.lane for shown in page.lanes] != [lane.lane for lane in turn.roster.lanes]:
            raise AuditFailed(PROVIDER, turn.epoch, "shows other lanes than the roster has")
        lanes = []
        for shown, (lane, name) in zip(page.lanes, turn.roster.lanes, strict=True):
            inbox = parse_actor(name)
            hashes = leaf_hashes([MESSAGE_LEAF.pack(*message.leaf) for message in shown.messages])
            made = Manifest(*self._slot(turn, inbox), lane, len(hashes), tree_root(hashes), self._before(turn, inbox))
            self._check_statement(turn, inbox, made)
            self._check_order(turn, inbox, shown)
            with _naming(PROVIDER, turn.epoch):
                lanes.append(open_messages(shown, hashes))
            with _naming(inbox, turn.epoch):
                for message, opened in zip(shown.messages, lanes[-1], strict=True):
                    check_sender(message.leaf.sender, [opened.recipients])
        return lanes

    def _check_order(self, turn: _Epoch, inbox: Actor, shown: AuditLane) -> None:
        """Every position once, and each sender's messages as it counted them. What another inbox took before this
        one, or an ended incarnation of it, this one may not have been told."""
        key = turn.roster.entry(inbox).key
        for message, seq in zip(shown.messages, make_seqs(turn.epoch, shown.lane, 0, len(shown.messages)), strict=True):
            leaf = message.leaf
            if leaf.seq != seq:
                detail = "it put a message at a position that its lane does not have"
                raise AuditFailed(str(inbox), turn.epoch, detail)
            last_ctr, taken_by = self._counters.get(leaf.sender, (-1, key))
            if leaf.sender_ctr <= last_ctr:
                named = str(inbox) if taken_by == key else PROVIDER
                raise AuditFailed(named, turn.epoch, "it took a sender's counter twice, or out of order")
            self._counters[leaf.sender] = leaf.sender_ctr, key

    def _check_routers(self, turn: _Epoch, lanes: Sequence[Delivered]) -> None:
        outboxes = actors_of(turn.roster, Role.OUTBOX)
        for (lane, inbox), delivered in zip(turn.roster.lanes, lanes, strict=True):
            router = router_of(inbox)
            items = make_items(delivered)
            placed: dict[Actor, list[bytes]] = {outbox: [] for outbox in outboxes}
            for mailbox, (n_messages, delta_root) in items.items():
                placed[self._placement.actor(mailbox)].append(item_hash(mailbox, n_messages, delta_root))
            entries = [entry_hash(o.encode(), len(hashes), items_root(hashes)) for o, hashes in placed.items()]
            made = RouteSheet(
                *self._slot(turn, router),
                turn.roster_hash,
                lane,
                turn.hashes[inbox],
                len(outboxes),
                tree_root(entries),
                self._before(turn, router),
            )
            self._check_statement(turn, router, made)

    def _check_receivers_and_outboxes(self, turn: _Epoch, merged: Delivered) -> int:
        """Returns how many deliveries there were."""
        inputs = tuple(turn.hashes[router_of(inbox).encode()] for _, inbox in turn.roster.lanes)
        items = make_items(merged)
        outboxes = actors_of(turn.roster, Role.OUTBOX)
        kept: dict[Actor, list[bytes]] = {outbox: [] for outbox in outboxes}
        for mailbox in items:
            kept[self._placement.actor(mailbox)].append(mailbox)
        for outbox, mailboxes in kept.items():
            receiver = receiver_of(outbox)
            made = MergeSheet(
                *self._slot(turn, receiver),
                turn.roster_hash,
                inputs,
                len(mailboxes),
                items_root([item_hash(mailbox, *items[mailbox]) for mailbox in mailboxes]),
                self._before(turn, receiver),
            )
            self._check_statement(turn, receiver, made)
        for outbox, mailboxes in kept.items():
            states = self._maps[outbox.number]
            changes = [advance(states, turn.epoch, mailbox, items[mailbox], merged[mailbox]) for mailbox in mailboxes]
            states = self._maps[outbox.number] = states.update(changes)
            head = EpochHead(
                *self._slot(turn, outbox),
                turn.hashes[receiver_of(outbox).encode()],
                states.root_hash,
                states.count,
                self._before(turn, outbox),
                turn.roster_hash,
            )
            self._check_statement(turn, outbox, head)
        return sum(map(len, merged.values()))

    def _make_open(self, turn: _Epoch) -> EpochOpen:
        return EpochOpen(*self._slot(turn, SEQUENCER), turn.roster_hash, NO_OVERRIDES, 0, EMPTY_ROOT, 0)

    def _check_record(self, turn: _Epoch, n_messages: int) -> None:
        """The log's record is of these statements, counts them, and continues the log."""
        leaves = [statement_leaf_hash(actor, turn.hashes[actor]) for actor in turn.roster.signers()]
        record = EPOCH_RECORD.decode(turn.bodies[LOG.encode()])
        made = EpochRecord(
            turn.epoch,
            self._log.root(),
            max(record.time_ms, self._time_ms),
            turn.roster_hash,
            NO_OVERRIDES,
            0,
            tree_root(leaves),
            len(leaves),
            record.challenges_root,
            max(record.challenges_count, self._challenges_count),
            n_messages,
        )
        self._check(turn, LOG, made)
        self._log, self._time_ms, self._challenges_count = turn.log, record.time_ms, record.challenges_count


@contextmanager
def _naming(actor: Actor | str, epoch: int) -> Iterator[None]:
    """What is found wrong in here is this actor's doing."""
    try:
        yield
    except NoiseError as error:
        raise AuditFailed(str(actor), epoch, error.detail) from error


def _verify_all(statements: EpochStatements, roster: Roster) -> dict[bytes, bytes]:
    """The bodies of an epoch's statements by actor, in the roster's order. Raises NoiseError."""
    shown = (statements.manifests, statements.routes, statements.merges, statements.heads, (statements.opened,))
    signed = [Signed(*one) for one in chain.from_iterable(shown)]
    actors = roster.signers()
    if len(signed) != len(actors):
        raise ProofError(f"shows {len(signed)} statements of the {len(actors)} actors")
    for name, one in zip(actors, signed, strict=True):
        actor = parse_actor(name)
        try:
            verify_statement(one, STATEMENTS[actor.role][0], roster, actor, roster.entry(actor).incarnation)
        except NoiseError as error:
            raise ProofError(f"shows a statement of {actor} that is not signed by it: {error.detail}") from error
    return {name: one.body for name, one in zip(actors, signed, strict=True)}
