"""What a client trusts, and the only way to trust more: verify a delta whole, then adopt it.

Knows nothing of transport, storage or time. `check_delta` raises and leaves the trusted state untouched, or returns the
next state with the deliveries that it proves; the caller stores both in one transaction and then adopts the state.
After "Parse, verify, then commit" of python-tuf's `trusted_metadata_set`, and the client of RFC 9162.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from noise.protocol.checkpoint import Checkpoint, log_name_of, verify_checkpoint
from noise.protocol.delta import (
    DELTA,
    Delivery,
    Delta,
    HistoryEntry,
    RecipientLists,
    open_section,
)
from noise.protocol.envelope import Bundle, Recipients
from noise.protocol.errors import DecodeError, NoiseError, ProofError, ProviderMisbehaved
from noise.protocol.frames import Cursor, Receipt
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
from noise.protocol.identifiers import NO_EPOCH, Actor, Role
from noise.protocol.merkle import (
    EMPTY_RANGE,
    CompactRange,
    check_inclusion,
    leaf_hash,
    leaf_hashes,
    subtree_spans,
    tree_root,
)
from noise.protocol.placement import place_mailbox
from noise.protocol.receipts import open_receipt
from noise.protocol.signing import SIGNED, Signed
from noise.protocol.state_map import MapProof, root_from_proof
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_RECORD,
    NO_OVERRIDES,
    EpochHead,
    EpochRecord,
    Roster,
    check_successor,
    hash_head,
    hash_roster,
    open_roster,
    statement_leaf_hash,
    verify_statement,
)
from noise.protocol.trust import NOTHING, ROSTERS_KEPT, Bound, Trusted


class Step(NamedTuple):
    """What a verified delta leads to. `counters`: the last sender_ctr of each sender that appears in it."""

    trusted: Trusted
    epoch: int
    time_ms: int
    deliveries: list[Delivery]
    counters: dict[bytes, int]


class Follower:
    """Follows one mailbox at one provider. `trusted` changes only through `adopt`.

    `last_counter(sender)` looks up the last verified counter of a sender, or None.
    """

    def __init__(
        self,
        origin: bytes,
        mailbox: bytes,
        trusted: Trusted = NOTHING,
        *,
        last_counter: Callable[[bytes], int | None],
    ) -> None:
        """Raises DecodeError or SignatureError when `trusted` is not this origin's."""
        self.origin = origin
        self.mailbox = mailbox
        self.trusted = trusted
        self.rosters = [open_roster(signed, origin) for signed in trusted.rosters]
        self._last_counter = last_counter

    @property
    def cursor(self) -> Cursor:
        """Where to resume."""
        t = self.trusted
        return Cursor(
            t.log.size,
            self.rosters[-1].version if self.rosters else 0,
            t.state.hist_size if t.state else 0,
            t.delivered.state.hist_size if t.delivered else 0,
            t.delivered.state.last_epoch if t.delivered else NO_EPOCH,
        )

    def adopt(self, step: Step) -> None:
        """Trust what `check_delta` verified, once it is stored."""
        if step.trusted.rosters != self.trusted.rosters:
            self.rosters = [open_roster(signed, self.origin) for signed in step.trusted.rosters]
        self.trusted = step.trusted

    def check_delta(self, delta: Delta, lists: RecipientLists) -> Step:
        """Verify everything that a delta says against what is trusted. Pure.

        `lists`: what this connection sent before; admit `new_lists(delta)` to it afterwards.
        Raises ProviderMisbehaved, with the delta's bytes as evidence.
        """
        try:
            return self._check(delta, lists)
        except NoiseError as error:
            raise ProviderMisbehaved(error.detail, code=error.code, evidence=(DELTA.encode(delta),)) from error

    def _check(self, delta: Delta, lists: RecipientLists) -> Step:
        old = self.trusted
        rosters, roster = self._check_rosters(delta)
        checkpoint = verify_checkpoint(delta.shared.note, log_name_of(self.origin), _log_key(roster))
        record, log, log_proof = _check_log(old, checkpoint, delta)
        if record.roster_hash != hash_roster(rosters[-1].body) or roster.valid_from_epoch > record.epoch:
            raise ProofError("the epoch ran under another roster", code="wrong-roster")
        if (record.placement_root, record.placement_count) != (NO_OVERRIDES, 0):
            raise ProofError("unknown placement", code="wrong-placement")
        head = self._check_head(delta, record, roster)
        state = self._check_state(delta, head, record)
        reached_before = old.state.hist_size if old.state else 0
        bounds = tuple(bound for bound in old.bounds if bound.hist_size < reached_before)
        bounds += (Bound(reached_before, old.log.size),)  # of two for one size the later says more
        find = _finder(delta, lists)
        delivered, deliveries = self._check_history(delta, state, record, bounds, find)
        _check_tail(old.state, state, delivered, delta.tail_hashes)
        reached, size = (h.hist_size if h else 0 for h in (delivered and delivered.state, state))
        if reached < size and not deliveries:
            raise ProofError("records are there, and none of them came", code="withheld")
        ahead = tuple(bound for bound in bounds if reached <= bound.hist_size < size)
        trusted = Trusted(rosters, log, log_proof, delta.shared, delta.path, delta.other, state, delivered, ahead)
        return Step(trusted, record.epoch, record.time_ms, deliveries, self._check_counters(deliveries))

    def _check_rosters(self, delta: Delta) -> tuple[tuple[Signed, ...], Roster]:
        rosters = list(self.trusted.rosters)
        roster = self.rosters[-1] if self.rosters else None
        for offered in delta.rosters:
            candidate = Signed(*offered)
            roster = open_roster(candidate, self.origin)
            if rosters:
                check_successor(rosters[-1], roster)
                if roster.valid_from_epoch < self.trusted.log.size:
                    raise ProofError("a roster for epochs that were verified under another", code="wrong-roster")
            rosters.append(candidate)
        if roster is None:
            raise DecodeError("a first delta needs a roster", code="no-roster")
        return tuple(rosters[-ROSTERS_KEPT:]), roster

    def _check_head(self, delta: Delta, record: EpochRecord, roster: Roster) -> EpochHead:
        signed = Signed(*delta.shared.head)
        head = EPOCH_HEAD.decode(signed.body)
        actor = place_mailbox(roster, self.mailbox)
        if head.actor != actor.encode() or (head.origin, head.epoch) != (self.origin, record.epoch):
            raise ProofError("the head of another outbox, origin or epoch", code="wrong-head")
        if head.roster_hash != record.roster_hash:
            raise ProofError("head and record name different rosters", code="wrong-roster")
        verify_statement(signed, "head", roster, actor, head.incarnation)
        signers = roster.signers()
        if record.statements_count != len(signers):
            raise ProofError("an epoch needs one statement of every actor", code="statement-count")
        leaf = statement_leaf_hash(head.actor, hash_head(signed.body))
        index = signers.index(head.actor)
        check_inclusion(record.statements_root, record.statements_count, index, leaf, delta.shared.head_proof)
        return head

    def _check_state(self, delta: Delta, head: EpochHead, record: EpochRecord) -> MailboxState | None:
        value_hash = hash_state(delta.state) if delta.state else None
        proof = MapProof(delta.path, (delta.other.key, delta.other.value_hash) if delta.other else None)
        if root_from_proof(map_key_of(self.mailbox), value_hash, proof) != head.map_root:
            raise ProofError("state map path does not lead to the signed root", code="bad-map-proof")
        old = self.trusted.state
        if not delta.state:
            if old is not None:
                raise ProofError("the mailbox vanished from the state map", code="mailbox-vanished")
            return None
        state = MAILBOX_STATE.decode(delta.state)
        if state.mailbox != self.mailbox or not state.hist_size >= 1 or state.last_epoch > record.epoch:
            raise ProofError("the state of another mailbox, or of no epoch", code="wrong-state")
        if old is not None:
            if (state.gen, state.since_epoch) != (old.gen, old.since_epoch):
                raise ProofError("the mailbox changed its generation", code="wrong-state")
            grew = state.hist_size > old.hist_size and state.total > old.total and state.last_seq > old.last_seq
            if state != old and not (grew and state.last_epoch >= self.trusted.log.size):
                raise ProofError("the mailbox's state went back, or grew in the past", code="mailbox-rollback")
        return state

    def _check_history(
        self,
        delta: Delta,
        state: MailboxState | None,
        record: EpochRecord,
        bounds: Sequence[Bound],
        find: Callable[[bytes], Recipients],
    ) -> tuple[History | None, list[Delivery]]:
        delivered = self.trusted.delivered
        deliveries: list[Delivery] = []
        boundary = self.trusted.state
        for entry in delta.history:
            if state is None:
                raise ProofError("history without a state", code="wrong-state")
            if delivered is None:
                delivered = new_history(self.mailbox, state.since_epoch)
                if HISTORY_RECORD.decode(entry.record).epoch != state.since_epoch:
                    raise ProofError("the first record is not of the mailbox's first epoch", code="bad-history")
            index = delivered.state.hist_size
            delivered, new = self._check_entry(entry, delivered, record.epoch, find)
            deliveries += new
            if any(index >= bound.hist_size and delivered.state.last_epoch < bound.log_size for bound in bounds):
                raise ProofError("a record of an epoch in which nothing had arrived", code="bad-history")
            if boundary is not None and delivered.state.hist_size == boundary.hist_size and delivered.state != boundary:
                raise ProofError("history does not lead to the state that was trusted", code="bad-history")
        return delivered, deliveries

    def _check_entry(
        self, entry: HistoryEntry, delivered: History, epoch: int, find: Callable[[bytes], Recipients]
    ) -> tuple[History, list[Delivery]]:
        record = HISTORY_RECORD.decode(entry.record)
        previous = delivered.state.last_epoch
        if not (previous == NO_EPOCH or previous < record.epoch) or record.epoch > epoch:
            raise ProofError("history record out of its order", code="bad-history")
        deliveries: list[Delivery] = []
        own: list[tuple[bytes, bytes]] = []
        next_seq = 0
        for section in entry.sections:
            first_seq = int.from_bytes(section.first_seq, "big")
            if first_seq < next_seq:
                raise ProofError("sections are out of order, or overlap", code="bad-order")
            next_seq = first_seq + section.n_envelopes
            opened = open_section(section, self.origin, self.mailbox, record.epoch, find)
            deliveries += opened.deliveries
            own += opened.own_ciphertexts
        if not deliveries:
            raise ProofError("a history record without deliveries", code="bad-history")
        delta_root = tree_root(leaf_hashes([delivery.leaf for delivery in deliveries]))
        expected = next_record(delivered, record.epoch, len(deliveries), delta_root, own_ciphertexts_root(own))
        if record != expected:
            wrong = [name for name, a, b in zip(record._fields, record, expected, strict=True) if a != b]
            raise ProofError(f"history record contradicts what came: {', '.join(wrong)}", code="bad-history")
        return apply_record(delivered, record, entry.record, deliveries[-1].seq), deliveries

    def _check_counters(self, deliveries: list[Delivery]) -> dict[bytes, int]:
        counters: dict[bytes, int] = {}
        for delivery in deliveries:
            last = counters.get(delivery.sender)
            if last is None:
                last = self._last_counter(delivery.sender)
            if last is not None and delivery.sender_ctr <= last:
                raise ProofError("a sender's counter came twice or went back", code="counter-reused")
            counters[delivery.sender] = delivery.sender_ctr
        return counters

    def check_receipt(self, receipt: Receipt, bundle: Bundle) -> list[bytes]:
        """The positions (seq) of a bundle's messages, which an inbox's signed manifest commits to. Pure.

        Raises ProviderMisbehaved; DecodeError "no-roster" when the roster of that epoch is not, or no longer, known
        here, which says nothing about the provider.
        """
        try:
            return open_receipt(receipt, bundle, self.origin, self.rosters)
        except NoiseError as error:
            if error.code == "no-roster":
                raise
            evidence = (SIGNED.encode(Signed(*receipt.manifest)), bundle.body)
            raise ProviderMisbehaved(error.detail, code=error.code, evidence=evidence) from error


def new_lists(delta: Delta) -> list[Recipients]:
    """The recipient lists that a delta brings. Raises Rejected for lists that no provider may accept."""
    return [Recipients(recipient_set) for recipient_set in delta.sets]


def _finder(delta: Delta, lists: RecipientLists) -> Callable[[bytes], Recipients]:
    brought: Mapping[bytes, Recipients] = {r.root: r for r in new_lists(delta)}

    def find(root: bytes) -> Recipients:
        found = brought.get(root) or lists.get(root)
        if found is None:
            raise DecodeError("a recipient list that was never sent", code="unknown-recipients")
        return found

    return find


def _log_key(roster: Roster) -> bytes:
    return roster.entry(Actor(Role.LOG, 0, 0)).key


def _check_log(
    old: Trusted, checkpoint: Checkpoint, delta: Delta
) -> tuple[EpochRecord, CompactRange, tuple[bytes, ...]]:
    """Extend the trusted log to the checkpoint: append-only, and the record is its last leaf, with this proof."""
    record = EPOCH_RECORD.decode(delta.shared.record)
    old_record = old.shared.record if old.shared else b""
    if checkpoint.size != record.epoch + 1:
        raise ProofError("checkpoint and epoch record disagree about the epoch", code="wrong-epoch")
    if checkpoint.size < old.log.size:
        raise ProofError("the log went back behind what was verified", code="log-rollback")
    if checkpoint.size == old.log.size:
        if delta.log_hashes or checkpoint.root != old.log.root() or delta.shared.record != old_record:
            raise ProofError("another log of the same size", code="log-fork")
        return record, old.log, old.log_proof
    if old_record and record.challenges_count < EPOCH_RECORD.decode(old_record).challenges_count:
        raise ProofError("challenges vanished from the log", code="wrong-challenges")
    before = old.log.extend(record.epoch, delta.log_hashes)
    if record.prev_root != before.root():
        raise ProofError("the epoch does not continue the verified log", code="log-fork")
    log = before.append(leaf_hash(delta.shared.record))
    if log.root() != checkpoint.root:
        raise ProofError("the checkpoint does not cover the epoch record", code="log-fork")
    if old_record and record.time_ms < EPOCH_RECORD.decode(old_record).time_ms:
        raise ProofError("the log's clock went back", code="time-went-back")
    return record, log, before.peaks[::-1]


def _check_tail(
    old: MailboxState | None, state: MailboxState | None, delivered: History | None, tail: tuple[bytes, ...]
) -> None:
    """The history goes on from what was delivered, over what was trusted, to the state's root."""
    if state is None:
        if tail:
            raise ProofError("history without a state", code="wrong-state")
        return
    reached = delivered.records if delivered else EMPTY_RANGE
    if delivered is not None and reached.size == state.hist_size:
        if tail or delivered.state != state:
            raise ProofError("history does not lead to the signed state", code="bad-history")
        return
    if reached.size > state.hist_size:
        raise ProofError("more history than the signed state has", code="bad-history")
    if old is not None and reached.size < old.hist_size:
        cut = len(subtree_spans(reached.size, old.hist_size))
        reached = reached.extend(old.hist_size, tail[:cut])
        tail = tail[cut:]
        if reached.root() != old.hist_root:
            raise ProofError("history does not lead to the state that was trusted", code="bad-history")
    if reached.extend(state.hist_size, tail).root() != state.hist_root:
        raise ProofError("history does not lead to the signed state", code="bad-history")
