"""The records of our mailbox that are kept: what each verified step adds, and how they are forgotten from the front.

Knows nothing of peers but how far they have compared. Calls the store.
"""

from collections.abc import Sequence

from noise.protocol.delta import Delta
from noise.protocol.envelope import RecipientSet
from noise.protocol.evidence.material import Material
from noise.protocol.evidence.openings import LOG_OPENING, LogOpening
from noise.protocol.follower import Step
from noise.protocol.history import HISTORY_RECORD
from noise.protocol.identifiers import parse_seq
from noise.protocol.merkle import leaf_hashes
from noise.protocol.statements import MESSAGE_LEAF
from noise.protocol.trust import Trusted
from noise_client.evidence_store import EvidenceStore, Gained, KeptMessage, KeptNote, KeptRecord
from noise_client.pair_chains import PairChains
from noise_client.retention import Policy, Standing

RECORDS_BETWEEN_PRUNING = 256
"""Records that are kept at least before anything is forgotten: asking the policy costs time."""


def gained_by(before: Trusted, step: Step, delta: Delta, spent: Sequence[bytes] = ()) -> Gained:
    """What a verified step adds to what is kept: to be stored with it. `before`: what was trusted then. Pure."""
    first_k = before.delivered.state.hist_size if before.delivered else 0
    records = [KeptRecord(first_k + i, entry.record) for i, entry in enumerate(delta.history)]
    k_of = {HISTORY_RECORD.decode(record).epoch: k for k, record in records}
    messages, sets = [], {}
    for d in step.deliveries:
        messages.append(KeptMessage(d.seq, k_of[parse_seq(d.seq)[0]], d.recipients.root, d.leaf))
        sets[d.recipients.root] = RecipientSet(d.recipients.env_salt, d.recipients.device_ids)
    shared, notes = step.trusted.shared, []
    if shared is not None and step.trusted.log.size > before.log.size and records:
        size = step.trusted.log.size
        opening = LogOpening(shared.note, size - 1, shared.record, step.trusted.log_proof)
        notes.append(KeptNote(size, LOG_OPENING.encode(opening), False))
    return Gained(records, messages, list(sets.items()), notes, spent)


class KeptHistory:
    """`policy` says how long; `device_id` is whose mailbox it is."""

    def __init__(self, store: EvidenceStore, device_id: bytes, policy: Policy) -> None:
        self._store = store
        self._device_id = device_id
        self._policy = policy
        self._base = store.base()
        self._records = store.records(self._base.size)
        self._prune_at = RECORDS_BETWEEN_PRUNING

    def extend(self, records: Sequence[KeptRecord]) -> None:
        """These were stored."""
        self._records += [record for _, record in records]

    @property
    def is_due(self) -> bool:
        """Whether enough has come since anything was forgotten last."""
        return len(self._records) >= self._prune_at

    def material(self, origin: bytes, trusted: Trusted) -> Material:
        """All that evidence is made of."""
        store = self._store
        return Material(origin, self._device_id, trusted, self._base, self._records, store.leaves, store.recipient_set)

    def forget(self, chains: PairChains, last_epoch: int, needed_epoch: int) -> None:
        """Forget what the policy does not keep. `last_epoch`: verified; `needed_epoch`: open matters begin there."""
        epochs = [HISTORY_RECORD.decode(record).epoch for record in self._records]
        first_k = self._base.size
        needed_k = first_k + sum(1 for epoch in epochs if epoch < needed_epoch)
        standing = Standing(first_k, epochs, self._stable_k(epochs, chains), last_epoch, needed_k)
        n_forgotten = min(max(0, self._policy.keep_from(standing) - first_k), len(epochs))
        if n_forgotten:
            base = self._base
            for hashed in leaf_hashes(self._records[:n_forgotten]):
                base = base.append(hashed)
            self._store.forget(base, chains.folded(base.size, epochs[n_forgotten - 1]))
            chains.forget_cached()
            self._base, self._records = base, self._records[n_forgotten:]
        self._prune_at = max(RECORDS_BETWEEN_PRUNING, 2 * len(self._records))

    def _stable_k(self, epochs: Sequence[int], chains: PairChains) -> int:
        """All records before it are of messages beyond which every recipient's cut has matched ours."""
        matched: dict[bytes, int] = {self._device_id: 2**64}
        for i, epoch in enumerate(epochs):
            for encoded in self._store.leaves(self._base.size + i):
                recipients = self._store.recipient_set(MESSAGE_LEAF.decode(encoded).recipients_root)
                for peer in recipients.device_ids if recipients else ():
                    if peer not in matched:
                        matched[peer] = chains.matched_epoch(peer)
                    if matched[peer] < epoch:
                        return self._base.size + i
        return self._base.size + len(epochs)
