"""Compares the logs that the provider shows to us and to our peers, by their checkpoints.

Knows nothing of mailboxes or pair chains. Two checkpoints of one size are compared at once. For another size the
provider is asked to show that its log had the peer's root at that size (a lookup): an honest one can. Distinguished
checkpoints, of every size that is a multiple of DISTINGUISHED_EVERY, are kept by every client with their signatures, so
that two who never met in one epoch have something to compare, without the provider's help.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from noise.protocol.checkpoint import parse_checkpoint
from noise.protocol.delta import SignedRoster
from noise.protocol.errors import NoiseError, ProofError
from noise.protocol.evidence.accuse import accuse_logs
from noise.protocol.evidence.openings import LOG_OPENING, LogOpening
from noise.protocol.gossip import CompactCheckpoint, compact, expand
from noise.protocol.identifiers import Actor, Role
from noise.protocol.log_pages import EpochStatements, Inclusion
from noise.protocol.merkle import check_consistency, check_inclusion, leaf_hash
from noise.protocol.statements import ROSTER
from noise.protocol.trust import NOTHING, Trusted
from noise_client.evidence_store import NOTES_MAX, EvidenceStore, KeptNote

T = TypeVar("T")

DISTINGUISHED_EVERY = 256
"""Log sizes between distinguished checkpoints: at one epoch a second some four minutes."""

_CATCH_UP_MAX = 4
"""Distinguished checkpoints that are asked for after an absence."""

_PEERS_MAX = 256

_LOOKUP_INTERVAL_MS = 10_000
"""Between two lookups for one peer, each of which costs the provider a proof."""


class LogLookup(NamedTuple):
    """Ask the provider: is a peer's checkpoint one of the log that we were shown, of `size` and `root` by `note`?"""

    peer: bytes
    checkpoint: CompactCheckpoint
    size: int
    root: bytes
    note: bytes


class NoteLookup(NamedTuple):
    """Ask the provider for its checkpoint of size `wanted`, and for what leads from it to our log."""

    wanted: int
    size: int
    root: bytes


Lookup: TypeAlias = LogLookup | NoteLookup


class LogWatch:
    """`time_ms`: the wall clock."""

    def __init__(self, store: EvidenceStore, origin: bytes, time_ms: Callable[[], int]) -> None:
        self._time_ms = time_ms
        self._asked_ms: OrderedDict[bytes, int] = OrderedDict()
        self._store = store
        self._origin = origin
        self._trusted: Trusted = NOTHING
        self._later: OrderedDict[bytes, CompactCheckpoint] = OrderedDict()
        self._unverified: OrderedDict[bytes, CompactCheckpoint] = OrderedDict()
        self._agreed: OrderedDict[bytes, int] = OrderedDict()
        self._kept: dict[bool, dict[int, LogOpening]] = {False: {}, True: {}}
        for note in store.notes():
            self._remember_note(note)
        self._wanted = 0

    def note_step(self, trusted: Trusted, notes: Sequence[KeptNote]) -> list[Lookup]:
        """More is verified, and these notes were stored with it. What to ask the provider for now."""
        self._trusted = trusted
        for note in notes:
            self._remember_note(note)
        size = trusted.log.size
        newest = size - size % DISTINGUISHED_EVERY
        if newest <= self._wanted:
            return []
        self._wanted = newest
        root = trusted.log.root()
        oldest = max(max(self._kept[True], default=0), newest - _CATCH_UP_MAX * DISTINGUISHED_EVERY)
        missing = range(oldest + DISTINGUISHED_EVERY, newest + 1, DISTINGUISHED_EVERY)
        return [NoteLookup(wanted, size, root) for wanted in missing]

    def ready(self) -> list[tuple[bytes, CompactCheckpoint]]:
        """Checkpoints of peers that can be compared by now."""
        size = self._trusted.log.size
        ready: list[tuple[bytes, CompactCheckpoint]] = []
        for waiting in (self._later, self._unverified):
            peers = [peer for peer, checkpoint in waiting.items() if checkpoint.size <= size]
            ready += [(peer, waiting.pop(peer)) for peer in peers]
        return ready

    def compact_note(self) -> CompactCheckpoint | None:
        """Our last checkpoint, for a view."""
        return compact(self._trusted.shared.note) if self._trusted.shared else None

    def openings(self) -> list[LogOpening]:
        """Every epoch record that we can open by ourselves, newest first."""
        trusted = self._trusted
        by_size = self._kept[False] | self._kept[True]
        kept = [by_size[size] for size in sorted(by_size, reverse=True) if size != trusted.log.size]
        if trusted.shared is None:
            return kept
        return [LogOpening(trusted.shared.note, trusted.log.size - 1, trusted.shared.record, trusted.log_proof), *kept]

    def _remember_note(self, note: KeptNote) -> None:
        kept = self._kept[note.is_distinguished]
        kept[note.size] = LOG_OPENING.decode(note.note)
        while len(kept) > NOTES_MAX:
            del kept[min(kept)]

    def opening(self, epoch: int) -> bytes:
        """The opening of one record, encoded, for a peer. Raises NoiseError."""
        if epoch >= self._trusted.log.size:
            raise NoiseError("the epoch is not verified yet", code="evidence-future")
        for opening in self.openings():
            if opening.place == epoch:
                return LOG_OPENING.encode(opening)
        raise NoiseError("the checkpoint is not kept", code="evidence-dropped")

    def hear(self, peer: bytes, checkpoint: CompactCheckpoint) -> LogLookup | bytes | None:
        """A peer's checkpoint: what to ask the provider, or a proof that there are two logs, or nothing.

        One of a log key that we cannot know waits until we must know it, or says nothing. Raises NoiseError for what no
        log key has signed.
        """
        size = self._trusted.log.size
        try:
            note = self._expand(checkpoint)
        except NoiseError:
            if checkpoint.size > size:
                _remember(self._unverified, peer, self._unverified.get(peer, checkpoint))
            elif not self._is_before_rosters(checkpoint.size):
                raise
            return None
        for opening in self.openings():
            ours = parse_checkpoint(opening.note)[0]
            if ours.size == checkpoint.size:
                return None if ours.root == checkpoint.root else self._accuse(opening, note)
        if checkpoint.size > size:
            _remember(self._later, peer, self._later.get(peer, checkpoint))
            return None
        shared = self._trusted.shared
        now = self._time_ms()
        is_early = now - self._asked_ms.get(peer, -_LOOKUP_INTERVAL_MS) < _LOOKUP_INTERVAL_MS
        if checkpoint.size <= self._agreed.get(peer, 0) or shared is None or is_early:
            return None
        _remember(self._asked_ms, peer, now)
        return LogLookup(peer, checkpoint, size, self._trusted.log.root(), shared.note)

    def check_log(self, lookup: LogLookup, proof: Sequence[bytes]) -> bool:
        """Whether the provider has shown that the peer's log is the beginning of ours."""
        checkpoint = lookup.checkpoint
        try:
            check_consistency(checkpoint.size, checkpoint.root, lookup.size, lookup.root, proof)
        except ProofError:
            return False
        _remember(self._agreed, lookup.peer, checkpoint.size)
        return True

    def keep_fork(self, lookup: LogLookup, statements: EpochStatements, inclusion: Inclusion) -> None:
        """Keep our own log's record at the place where the peer's log ends. Raises NoiseError when it is not that."""
        place = lookup.checkpoint.size - 1
        check_inclusion(lookup.root, lookup.size, place, leaf_hash(statements.record), inclusion.proof)
        opening = LogOpening(lookup.note, place, statements.record, inclusion.proof)
        self._save_note(KeptNote(place + 1, LOG_OPENING.encode(opening), False))

    def keep_distinguished(
        self, lookup: NoteLookup, statements: EpochStatements, inclusion: Inclusion, proof: Sequence[bytes]
    ) -> None:
        """Keep a distinguished checkpoint that leads to our log. Raises NoiseError for one that does not."""
        note = statements.note.encode()
        checkpoint = parse_checkpoint(note)[0]
        self._expand(compact(note))
        if checkpoint.size != lookup.wanted:
            raise NoiseError("the checkpoint of another size", code="wrong-checkpoint")
        place = checkpoint.size - 1
        check_inclusion(checkpoint.root, checkpoint.size, place, leaf_hash(statements.record), inclusion.proof)
        check_consistency(checkpoint.size, checkpoint.root, lookup.size, lookup.root, proof)
        opening = LogOpening(note, place, statements.record, inclusion.proof)
        self._save_note(KeptNote(checkpoint.size, LOG_OPENING.encode(opening), True))

    def _save_note(self, note: KeptNote) -> None:
        self._store.save_note(note)
        self._remember_note(note)

    def hear_opening(self, encoded: bytes) -> bytes | None:
        """A peer's record, opened: a proof, if ours at that place, or of that size, is another. Raises NoiseError."""
        theirs = LOG_OPENING.decode(encoded)
        for ours in self.openings():
            proof = self._accuse(ours, theirs) if _may_differ(ours, theirs) else None
            if proof is not None:
                return proof
        return None

    def _accuse(self, ours: LogOpening, theirs: LogOpening | bytes) -> bytes | None:
        rosters = [SignedRoster(*signed) for signed in self._trusted.rosters]
        return accuse_logs(self._origin, rosters, ours, theirs)

    def _is_before_rosters(self, size: int) -> bool:
        """Whether a log of this size ended before the first epoch of which we know the roster."""
        rosters = self._trusted.rosters
        return not rosters or size <= ROSTER.decode(rosters[0].body).valid_from_epoch

    def _expand(self, checkpoint: CompactCheckpoint) -> bytes:
        """The note, signed by a log key that we know. Raises NoiseError."""
        problem = NoiseError("no roster is known yet", code="no-roster")
        for signed in reversed(self._trusted.rosters):
            try:
                key = ROSTER.decode(signed.body).entry(Actor(Role.LOG, 0, 0)).key
                return expand(checkpoint, self._origin, key)
            except NoiseError as error:
                problem = error
        raise problem


def _may_differ(ours: LogOpening, theirs: LogOpening) -> bool:
    """Whether the two say something about one place, and not the same. Checking what they prove takes milliseconds."""
    if ours.place == theirs.place and ours.record != theirs.record:
        return True
    our, their = parse_checkpoint(ours.note)[0], parse_checkpoint(theirs.note)[0]
    return (our.size == their.size and our.root != their.root) or their.size == ours.place or our.size == theirs.place


def _remember(table: "OrderedDict[bytes, T]", peer: bytes, value: T) -> None:
    table[peer] = value
    table.move_to_end(peer)
    if len(table) > _PEERS_MAX:
        table.popitem(last=False)
