"""A provider in one object, without I/O: epochs go in as bundles, and come out signed, as deltas for its mailboxes.

Knows nothing of time, storage or the pipeline. One lane, one outbox. What it signs it makes with the protocol's own
encoders; that these are right is shown elsewhere, byte by byte and by hand.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from noise.protocol.challenges import NO_CHALLENGES
from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.delta import (
    SECTION,
    Delta,
    DeltaShared,
    HistoryEntry,
    OtherLeaf,
    Section,
    SignedHead,
    SignedRoster,
    encode_own_part,
    encode_section,
)
from noise.protocol.envelope import Bundle, Recipients, RecipientSet
from noise.protocol.frames import Receipt, SignedManifest
from noise.protocol.history import (
    HISTORY_RECORD,
    MAILBOX_STATE,
    History,
    apply_record,
    hash_state,
    map_key_of,
    new_history,
    next_record,
    own_ciphertexts_root,
)
from noise.protocol.identifiers import Actor, Role, make_seqs
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hash, range_hashes, tree_root
from noise.protocol.signing import Signed
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MANIFEST,
    NO_OVERRIDES,
    STATEMENTS,
    EpochHead,
    EpochOpen,
    EpochRecord,
    Manifest,
    RosterInForce,
    hash_merge,
    hash_roster,
    hash_statement,
    message_leaves,
    statement_leaf_hash,
)
from tests.vectors.cast import (
    CREATED_MS,
    LOG,
    LOG_NAME,
    NO_PREVIOUS,
    ORIGIN,
    actor_key,
    bundle_of,
    draft_of,
    make_roster,
    mixed_bundle,
    recipients_of,
    sign_roster,
)
from tests.vectors.sheets import LaneInput, content_of, merge_sheet, route_sheet

SIGNERS = INBOX, ROUTER, RECEIVER, OUTBOX, SEQUENCER = [Actor(role, 0, 0) for role in Role if role != Role.LOG]
EPOCH_MS = 20


class Placed(NamedTuple):
    """A bundle in its place."""

    bundle: Bundle
    seqs: list[bytes]
    leaves: list[bytes]

    def indexes_of(self, mailbox: bytes) -> tuple[int, ...]:
        """Which of its messages the mailbox receives."""
        bundle = self.bundle
        return tuple(i for i, row in enumerate(bundle.rows) if bundle.recipients[row.set_index].index(mailbox) >= 0)


class Epoch(NamedTuple):
    """What the provider's actors signed, and what they signed it about."""

    number: int
    placed: list[Placed]
    signed: dict[Actor, Signed]
    statements: Tree
    record: bytes
    note: bytes
    states: StateMap[bytes]
    entries: dict[bytes, HistoryEntry]

    @property
    def manifest(self) -> Signed:
        return self.signed[INBOX]

    @property
    def head(self) -> Signed:
        return self.signed[OUTBOX]

    def shared(self) -> DeltaShared:
        proof = tuple(self.statements.inclusion(SIGNERS.index(OUTBOX)))
        return DeltaShared(self.note, self.record, SignedHead(*self.head), proof)


def section_of(placed: Placed, mailbox: bytes) -> tuple[Section, list[tuple[bytes, bytes]]]:
    """A mailbox's section of a bundle, and (seq, hash) of its own ciphertexts."""
    chosen = placed.indexes_of(mailbox)
    indexes = () if len(chosen) == placed.bundle.count else chosen
    own, hashes = encode_own_part(placed.bundle, indexes, mailbox)
    section = SECTION.decode(encode_section(placed.bundle, placed.seqs[0], indexes) + own)
    return section, [(placed.seqs[i], h) for i, h in hashes]


class Provider:
    """The provider after its last epoch."""

    def __init__(self) -> None:
        self.roster = make_roster()
        self.signed_roster = sign_roster(self.roster)
        self.roster_hash = hash_roster(self.signed_roster.body)
        self.in_force = RosterInForce(self.roster, self.roster_hash)
        self.epochs: list[Epoch] = []
        self.histories: dict[bytes, History] = {}
        self._leaf_hashes: list[bytes] = []
        self._states: StateMap[bytes] = StateMap.empty()

    def step(self, bundles: Sequence[Bundle] = ()) -> Epoch:
        """Run one epoch."""
        number, placed, pos = len(self.epochs), [], 0
        for bundle in bundles:
            seqs = make_seqs(number, 0, pos, bundle.count)
            placed.append(Placed(bundle, seqs, message_leaves(bundle, seqs)))
            pos += bundle.count
        entries = self._deliver(number, placed)
        signed = self._sign(number, placed, pos)
        statements = Tree(
            [statement_leaf_hash(a.encode(), hash_statement(a.encode(), signed[a].body)) for a in SIGNERS]
        )
        record = EPOCH_RECORD.encode(
            EpochRecord(
                *(number, tree_root(self._leaf_hashes), CREATED_MS + EPOCH_MS * number, self.roster_hash, NO_OVERRIDES),
                *(0, statements.root, statements.size, NO_CHALLENGES, 0, pos),
            )
        )
        self._leaf_hashes.append(leaf_hash(record))
        note = sign_checkpoint(LOG, Checkpoint(LOG_NAME, number + 1, tree_root(self._leaf_hashes)))
        epoch = Epoch(number, placed, signed, statements, record, note, self._states, entries)
        self.epochs.append(epoch)
        return epoch

    def _sign(self, number: int, placed: list[Placed], n_messages: int) -> dict[Actor, Signed]:
        """What every actor signs, each over what the one before it did."""
        before = self.epochs[-1].signed if self.epochs else {}
        previous = {a: hash_statement(a.encode(), before[a].body) if before else NO_PREVIOUS for a in SIGNERS}
        root = tree_root([leaf_hash(leaf) for p in placed for leaf in p.leaves])
        content = content_of((p.bundle, p.leaves) for p in placed)
        manifest = MANIFEST.encode(Manifest(ORIGIN, INBOX.encode(), 0, number, 0, n_messages, root, previous[INBOX]))
        route = route_sheet(self.in_force, number, ROUTER, LaneInput(0, manifest, content), previous[ROUTER])
        merge = merge_sheet(self.in_force, number, RECEIVER, [(route, content)], previous[RECEIVER])
        head = EPOCH_HEAD.encode(
            EpochHead(
                *(ORIGIN, OUTBOX.encode(), 0, number, hash_merge(merge)),
                *(self._states.root_hash, self._states.count, previous[OUTBOX], self.roster_hash),
            )
        )
        opened = EPOCH_OPEN.encode(
            EpochOpen(*(ORIGIN, SEQUENCER.encode(), 0, number, self.roster_hash, NO_OVERRIDES, 0), *(EMPTY_ROOT, 0))
        )
        bodies = zip(SIGNERS, (manifest, route, merge, head, opened), strict=True)
        return {a: actor_key(a).sign(STATEMENTS[a.role][0], ORIGIN, body) for a, body in bodies}

    def _deliver(self, number: int, placed: list[Placed]) -> dict[bytes, HistoryEntry]:
        entries, states = {}, []
        mailboxes = {i for p in placed for members in p.bundle.recipients for i in members.device_ids}
        for mailbox in sorted(mailboxes):
            history = self.histories.get(mailbox) or new_history(mailbox, number)
            sections, own, leaves = [], [], []
            last_seq = b""
            for p in placed:
                if chosen := p.indexes_of(mailbox):
                    section, hashes = section_of(p, mailbox)
                    sections.append(section)
                    own += hashes
                    leaves += [leaf_hash(p.leaves[i]) for i in chosen]
                    last_seq = p.seqs[chosen[-1]]
            record = next_record(history, number, len(leaves), tree_root(leaves), own_ciphertexts_root(own))
            encoded = HISTORY_RECORD.encode(record)
            history = self.histories[mailbox] = apply_record(history, record, encoded, last_seq)
            entries[mailbox] = HistoryEntry(encoded, tuple(sections))
            state = MAILBOX_STATE.encode(history.state)
            states.append((map_key_of(mailbox), hash_state(state), state))
        self._states = self._states.update(states)
        return entries

    def delta(self, mailbox: bytes, first_epoch: int, number: int, known: Sequence[bytes] = ()) -> Delta:
        """What brings a client of `mailbox` that has verified all before `first_epoch` up to epoch `number`.

        `known`: recipient roots that need not be sent.
        """
        epoch, tree = self.epochs[number], Tree(self._leaf_hashes)
        key = map_key_of(mailbox)
        proof = epoch.states.prove(key)
        entries = [e.entries[mailbox] for e in self.epochs[first_epoch : number + 1] if mailbox in e.entries]
        lists: dict[bytes, Recipients] = {r.root: r for e in self.epochs for p in e.placed for r in p.bundle.recipients}
        roots = dict.fromkeys(root for entry in entries for section in entry.sections for root in section.roots)
        return Delta(
            epoch.shared(),
            tuple(range_hashes(tree.node, first_epoch, number)),
            () if first_epoch else (SignedRoster(*self.signed_roster),),
            tuple(RecipientSet(lists[r].env_salt, lists[r].device_ids) for r in roots if r not in known),
            epoch.states.get(key) or b"",
            proof.siblings,
            OtherLeaf(*proof.other) if proof.other else None,
            tuple(entries),
            (),
        )

    def receipt(self, number: int, index: int) -> Receipt:
        """The receipt of an epoch's bundle number `index`."""
        epoch = self.epochs[number]
        tree = Tree([leaf_hash(leaf) for p in epoch.placed for leaf in p.leaves])
        first = sum(p.bundle.count for p in epoch.placed[:index])
        p = epoch.placed[index]
        proof = tree.prove_subset(first, first + p.bundle.count)
        return Receipt(SignedManifest(*epoch.manifest), p.seqs[0], tuple(proof))


@cache
def story() -> Provider:
    """Three epochs: alice writes to bob, carol and herself; nobody writes; bob and alice write to each other."""
    provider = Provider()
    provider.step([mixed_bundle()])
    provider.step()
    us = recipients_of("alice", "bob")
    answer = bundle_of("bob", [draft_of(us, b"an answer", 48)])
    provider.step([answer, bundle_of("alice", [draft_of(us, b"and on")], first_ctr=12)])
    return provider
