"""A provider that holds its real keys and can sign anything: honest epochs first, then one lie, consistently signed.

Knows nothing of what a follower checks. It is made of the protocol's own pure functions: one inbox, any number of
outboxes, whose mailboxes are placed as the roster says. Whatever a lie changes, all that commits to it is made again.
Outboxes and the log lie; the stages before them say what is true. Statements never name a `previous` one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from noise.protocol.challenges import NO_CHALLENGES
from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.delta import (
    SECTION,
    Delta,
    DeltaShared,
    HistoryEntry,
    OtherLeaf,
    SignedHead,
    SignedRoster,
    encode_own_part,
    encode_section,
)
from noise.protocol.envelope import Bundle, Recipients, RecipientSet
from noise.protocol.frames import START, Cursor
from noise.protocol.history import (
    HISTORY_RECORD,
    MAILBOX_STATE,
    History,
    MailboxState,
    apply_record,
    hash_state,
    map_key_of,
    new_history,
    next_record,
    own_ciphertexts_root,
)
from noise.protocol.identifiers import Actor, Role, make_seqs, parse_actor
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hash, range_hashes, tree_root
from noise.protocol.placement import actors_of, place_mailbox
from noise.protocol.signing import Signed, Signer
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MANIFEST,
    NO_OVERRIDES,
    EpochHead,
    EpochOpen,
    EpochRecord,
    Manifest,
    Roster,
    RosterInForce,
    hash_merge,
    hash_roster,
    hash_statement,
    message_leaves,
    statement_leaf_hash,
)
from tests.vectors.cast import CREATED_MS, LOG, LOG_NAME, NO_PREVIOUS, ORIGIN, actor_key, make_roster, sign_roster
from tests.vectors.sheets import LaneInput, content_of, merge_sheet, route_sheet

INBOX, ROUTER, SEQUENCER = (Actor(role, 0, 0) for role in (Role.INBOX, Role.ROUTER, Role.SEQUENCER))


class Placed(NamedTuple):
    """A bundle, the position of its first message, and which of its messages a mailbox receives (empty: all)."""

    bundle: Bundle
    first_pos: int = 0
    indexes: tuple[int, ...] = ()


class Told(NamedTuple):
    """A mailbox's history, as the provider tells it: its records with their messages, and the history after each."""

    mailbox: bytes
    entries: tuple[HistoryEntry, ...] = ()
    histories: tuple[History, ...] = ()

    def upto(self, size: int) -> "Told":
        return self._replace(entries=self.entries[:size], histories=self.histories[:size])

    def then(self, epoch: int, /, *placed: Placed, own_part_of: bytes | None = None, **changes: Any) -> "Told":
        """With one more record for these messages, whatever they are; `changes` are to the record's fields.

        `own_part_of`: the recipient whose own ciphertexts come instead of the mailbox's.
        """
        before = self.histories[-1] if self.histories else new_history(self.mailbox, epoch)
        leaves, own, sections, last_seq = [], [], [], before.state.last_seq
        for bundle, first_pos, indexes in placed:
            seqs = make_seqs(epoch, 0, first_pos, bundle.count)
            encoded = message_leaves(bundle, seqs)
            own_part, hashes = encode_own_part(bundle, indexes, own_part_of or self.mailbox)
            leaves += [leaf_hash(encoded[i]) for i in indexes or range(bundle.count)]
            own += [(seqs[i], h) for i, h in hashes]
            sections.append(SECTION.decode(encode_section(bundle, seqs[0], indexes) + own_part))
            last_seq = seqs[indexes[-1] if indexes else -1]
        record = next_record(before, epoch, len(leaves), tree_root(leaves), own_ciphertexts_root(own))
        body = HISTORY_RECORD.encode(record._replace(**changes))
        after = apply_record(before, HISTORY_RECORD.decode(body), body, last_seq)
        made = HistoryEntry(body, tuple(sections))
        return self._replace(entries=(*self.entries, made), histories=(*self.histories, after))

    def with_sections(self, *sections: Any) -> "Told":
        """With other sections beside the last record, which is as it was."""
        last = self.entries[-1]._replace(sections=sections)
        return self._replace(entries=(*self.entries[:-1], last))

    @property
    def state(self) -> MailboxState:
        return self.histories[-1].state

    @property
    def leaf_hashes(self) -> list[bytes]:
        return [leaf_hash(made.record) for made in self.entries]


class Snapshot(NamedTuple):
    """An epoch as it was signed. `bodies`: what all but the outboxes stated. `told`: to each mailbox, up to it."""

    bodies: dict[bytes, bytes]
    record: EpochRecord
    roster: Roster
    roster_hash: bytes
    told: dict[bytes, Told]


@dataclass
class Lie:
    """What is signed instead of the truth, if it is not None. `state`: b"" for none.

    `head`, `record`, `checkpoint`: fields that are changed right before they are signed. `leaves`: the log before the
    epoch. `statements`: the leaves of the epoch's statements.
    """

    state: MailboxState | bytes | None = None
    head: dict[str, Any] = field(default_factory=dict)
    head_signer: Signer | None = None
    record: dict[str, Any] = field(default_factory=dict)
    leaves: Sequence[bytes] | None = None
    checkpoint: dict[str, Any] = field(default_factory=dict)
    log_signer: Signer = LOG
    rosters: Sequence[Signed] | None = None
    tail: Sequence[bytes] | None = None


TRUTH = Lie()


class Liar:
    """The provider after its last epoch. `challenges`: root and count of what the next records hold."""

    def __init__(self, n_outboxes: int = 1) -> None:
        self.roster = make_roster(1, n_outboxes)
        self.rosters = [sign_roster(self.roster)]
        self.challenges = (NO_CHALLENGES, 0)
        self.epochs: list[Snapshot] = []
        self.leaves: list[bytes] = []
        self.told: dict[bytes, Told] = {}
        self.sets: dict[bytes, Recipients] = {}

    def next_roster(self, n_outboxes: int = 1, **changes: Any) -> Roster:
        """The roster that could follow, from the next epoch on, with any fields changed."""
        made = make_roster(1, n_outboxes, len(self.rosters) + 1, hash_roster(self.rosters[-1].body))
        return made._replace(**{"valid_from_epoch": len(self.epochs)} | changes)

    def change_roster(self, roster: Roster) -> None:
        self.roster = roster
        self.rosters.append(sign_roster(roster))

    def commit(self, *bundles: Bundle) -> int:
        """Run one epoch; its number."""
        number, pos = len(self.epochs), 0
        received: dict[bytes, list[Placed]] = {}
        leaves: list[tuple[Bundle, list[bytes]]] = []
        for bundle in bundles:
            self.sets.update((recipients.root, recipients) for recipients in bundle.recipients)
            for mailbox in sorted({i for recipients in bundle.recipients for i in recipients.device_ids}):
                received.setdefault(mailbox, []).append(Placed(bundle, pos, indexes_of(bundle, mailbox)))
            leaves.append((bundle, message_leaves(bundle, make_seqs(number, 0, pos, bundle.count))))
            pos += bundle.count
        for mailbox, placed in received.items():
            self.told[mailbox] = self.told.get(mailbox, Told(mailbox)).then(number, *placed)
        in_force = RosterInForce(self.roster, hash_roster(self.rosters[-1].body))
        record = EpochRecord(
            *(number, tree_root(self.leaves), CREATED_MS + 20 * number, in_force.roster_hash, NO_OVERRIDES, 0),
            *(EMPTY_ROOT, 0, *self.challenges, pos),
        )
        self.epochs.append(Snapshot(_state(number, in_force, leaves), record, *in_force, dict(self.told)))
        record = EPOCH_RECORD.decode(self._sign(number, bytes(32), dict(self.told), TRUTH)[0].record)
        self.epochs[-1] = self.epochs[-1]._replace(record=record)
        self.leaves.append(leaf_hash(EPOCH_RECORD.encode(record)))
        return number

    def delta(
        self,
        mailbox: bytes,
        cursor: Cursor = START,
        *,
        number: int = -1,
        told: Told | None = None,
        records_max: int | None = None,
        lie: Lie = TRUTH,
    ) -> Delta:
        """What brings a client from its cursor to an epoch, with `records_max` records at most.

        `told`: the mailbox's history, if it is not the true one.
        """
        number %= len(self.epochs)
        snapshot = self.epochs[number]
        told = told or snapshot.told.get(mailbox) or Told(mailbox)
        shared, states = self._sign(number, mailbox, snapshot.told | ({mailbox: told} if told.entries else {}), lie)
        log = Tree(self.leaves[:number] if lie.leaves is None else lie.leaves)
        log_hashes = range_hashes(log.node, cursor.log_size, number) if cursor.log_size < number else []
        entries = told.entries[cursor.hist_next :][:records_max]
        reached, size = cursor.hist_next + len(entries), len(told.entries)
        cut = max(reached, cursor.hist_size)
        records = Tree(told.leaf_hashes)
        tail = lie.tail
        if tail is None:
            tail = range_hashes(records.node, reached, cut) + range_hashes(records.node, cut, size)
        roots = dict.fromkeys(root for made in entries for section in made.sections for root in section.roots)
        key = map_key_of(mailbox)
        proof = states.prove(key)
        rosters = self.rosters[cursor.roster_version or -1 :] if lie.rosters is None else lie.rosters
        return Delta(
            shared,
            tuple(log_hashes),
            tuple(SignedRoster(*signed) for signed in rosters),
            tuple(RecipientSet(self.sets[r].env_salt, self.sets[r].device_ids) for r in roots if r in self.sets),
            states.get(key) or b"",
            proof.siblings,
            OtherLeaf(*proof.other) if proof.other else None,
            entries,
            tuple(tail),
        )

    def _sign(
        self, number: int, mailbox: bytes, told: dict[bytes, Told], lie: Lie
    ) -> tuple[DeltaShared, StateMap[bytes]]:
        """The signed part for the outbox of a mailbox, and the states under it."""
        snapshot = self.epochs[number]
        states = {one: MAILBOX_STATE.encode(history.state) for one, history in told.items()}
        if lie.state is not None:
            states[mailbox] = lie.state if isinstance(lie.state, bytes) else MAILBOX_STATE.encode(lie.state)
        own = place_mailbox(snapshot.roster, mailbox).encode()
        leaves, maps, heads = [], {}, {}
        for actor in snapshot.roster.signers():
            outbox = parse_actor(actor)
            if outbox.role is Role.OUTBOX:
                kept = [(one, s) for one, s in states.items() if place_mailbox(snapshot.roster, one).encode() == actor]
                items = [(map_key_of(one), hash_state(state), state) for one, state in kept if state]
                maps[actor] = StateMap[bytes].empty().update(items)
                sheet = hash_merge(snapshot.bodies[outbox._replace(role=Role.RECEIVER).encode()])
                head = EpochHead(
                    *(ORIGIN, actor, 0, number, sheet, maps[actor].root_hash, maps[actor].count),
                    *(NO_PREVIOUS, snapshot.roster_hash),
                )
                heads[actor] = EPOCH_HEAD.encode(head._replace(**lie.head if actor == own else {}))
            body = heads[actor] if actor in heads else snapshot.bodies[actor]
            leaves.append(statement_leaf_hash(actor, hash_statement(actor, body)))
        statements = Tree(leaves)
        signed = (lie.head_signer or actor_key(parse_actor(own))).sign("head", ORIGIN, heads[own])
        record = snapshot.record._replace(statements_root=statements.root, statements_count=statements.size)
        encoded = EPOCH_RECORD.encode(record._replace(**lie.record))
        log = [*(self.leaves[:number] if lie.leaves is None else lie.leaves), leaf_hash(encoded)]
        checkpoint = Checkpoint(LOG_NAME, len(log), tree_root(log))._replace(**lie.checkpoint)
        note = sign_checkpoint(lie.log_signer, checkpoint)
        proof = statements.inclusion(snapshot.roster.signers().index(own))
        return DeltaShared(note, encoded, SignedHead(*signed), tuple(proof)), maps[own]


def _state(number: int, in_force: RosterInForce, placed: Sequence[tuple[Bundle, list[bytes]]]) -> dict[bytes, bytes]:
    """What all actors but the outboxes and the log state of an epoch. `placed`: bundles with their leaves."""
    hashes = [leaf_hash(leaf) for _, leaves in placed for leaf in leaves]
    content = content_of(placed)
    manifest = Manifest(ORIGIN, INBOX.encode(), 0, number, 0, len(hashes), tree_root(hashes), NO_PREVIOUS)
    opened = EpochOpen(ORIGIN, SEQUENCER.encode(), 0, number, in_force.roster_hash, NO_OVERRIDES, 0, EMPTY_ROOT, 0)
    bodies = {INBOX.encode(): MANIFEST.encode(manifest), SEQUENCER.encode(): EPOCH_OPEN.encode(opened)}
    given = LaneInput(0, bodies[INBOX.encode()], content)
    route = bodies[ROUTER.encode()] = route_sheet(in_force, number, ROUTER, given)
    for receiver in actors_of(in_force.roster, Role.RECEIVER):
        bodies[receiver.encode()] = merge_sheet(in_force, number, receiver, [(route, content)])
    return bodies


def indexes_of(bundle: Bundle, mailbox: bytes) -> tuple[int, ...]:
    """Which messages of a bundle a mailbox receives, as the wire has it: empty for all."""
    wanted = [i for i, row in enumerate(bundle.rows) if bundle.recipients[row.set_index].index(mailbox) >= 0]
    return () if len(wanted) == bundle.count else tuple(wanted)
