"""The provider's word in memory, for as long as the process lives.

Knows nothing of files. It keeps the contract of `EvidenceStore`.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence

from noise.protocol.envelope import RecipientSet
from noise.protocol.merkle import EMPTY_RANGE, CompactRange
from noise.protocol.prekeys import NO_PREKEY_ID
from noise_client.evidence_store import (
    NOTES_MAX,
    PROOFS_MAX,
    EvidenceStore,
    Gained,
    KeptMessage,
    KeptNote,
    KeptProof,
    KeptReceipt,
    Pair,
    PrivatePrekey,
)


class MemoryEvidence(EvidenceStore):
    def __init__(self) -> None:
        self._base = EMPTY_RANGE
        self._records: dict[int, bytes] = {}
        self._messages: list[KeptMessage] = []
        self._sets: dict[bytes, RecipientSet] = {}
        self._roots: dict[bytes, set[bytes]] = {}
        self._pairs: dict[bytes, Pair] = {}
        self._notes: dict[bool, list[KeptNote]] = {False: [], True: []}
        self._receipts: dict[bytes, KeptReceipt] = {}
        self._proofs: list[KeptProof] = []
        self._prekeys: dict[bytes, PrivatePrekey] = {}
        self._last_prekey_id = NO_PREKEY_ID

    def gain(self, gained: Gained) -> None:
        for r in gained.records:
            self._records.setdefault(r.k, r.record)
        last_seq = self._messages[-1].seq if self._messages else b""
        self._messages += [message for message in gained.messages if message.seq > last_seq]
        for root, recipient_set in gained.sets:
            self._sets.setdefault(root, recipient_set)
            for device_id in recipient_set.device_ids:
                self._roots.setdefault(device_id, set()).add(root)
        for note in gained.notes:
            self.save_note(note)
        self.drop_prekeys(gained.spent)

    def base(self) -> CompactRange:
        return self._base

    def records(self, first_k: int) -> list[bytes]:
        return [self._records[k] for k in sorted(self._records) if k >= first_k]

    def leaves(self, k: int) -> list[bytes]:
        return [message.leaf for message in self._messages if message.k == k]

    def recipient_set(self, root: bytes) -> RecipientSet | None:
        return self._sets.get(root)

    def chain_leaves(self, peer: bytes, after_seq: bytes, count: int) -> list[bytes]:
        roots = self._roots.get(peer, set())
        start = bisect_right(self._messages, after_seq, key=lambda message: message.seq)
        found: list[bytes] = []
        for message in self._messages[start:]:
            if len(found) == count:
                break
            if message.recipients_root in roots:
                found.append(message.leaf)
        return found

    def peers(self, next_k: int) -> list[bytes]:
        roots = {message.recipients_root for message in self._messages if message.k < next_k}
        return sorted({device_id for root in roots for device_id in self._sets[root].device_ids})

    def pair(self, peer: bytes) -> Pair | None:
        return self._pairs.get(peer)

    def save_pairs(self, pairs: Sequence[Pair]) -> None:
        self._pairs.update((pair.peer, pair) for pair in pairs)

    def forget(self, base: CompactRange, pairs: Sequence[Pair]) -> None:
        self._base = base
        self._records = {k: record for k, record in self._records.items() if k >= base.size}
        self._messages = [message for message in self._messages if message.k >= base.size]
        kept = {message.recipients_root for message in self._messages}
        for root in [root for root in self._sets if root not in kept]:
            for device_id in self._sets.pop(root).device_ids:
                self._roots[device_id].discard(root)
        self.save_pairs(pairs)

    def notes(self) -> list[KeptNote]:
        return sorted(self._notes[False] + self._notes[True], key=lambda note: (note.size, note.is_distinguished))

    def save_note(self, note: KeptNote) -> None:
        kept = self._notes[note.is_distinguished]
        if all(other.size != note.size for other in kept):
            insort(kept, note)
            del kept[:-NOTES_MAX]

    def save_receipt(self, receipt: KeptReceipt) -> None:
        self._receipts[receipt.first_seq] = receipt

    def receipts(self) -> list[KeptReceipt]:
        return [self._receipts[seq] for seq in sorted(self._receipts)]

    def drop_receipt(self, first_seq: bytes) -> None:
        self._receipts.pop(first_seq, None)

    def save_proof(self, proof: KeptProof) -> bool:
        if len(self._proofs) >= PROOFS_MAX or any(kept.proof == proof.proof for kept in self._proofs):
            return False
        self._proofs.append(proof)
        return True

    def proofs(self) -> list[KeptProof]:
        return list(self._proofs)

    def save_prekeys(self, prekeys: Sequence[PrivatePrekey]) -> None:
        self._prekeys.update((prekey.prekey_id, prekey) for prekey in prekeys)
        self._last_prekey_id = max([self._last_prekey_id, *(prekey.prekey_id for prekey in prekeys)])

    def prekey(self, prekey_id: bytes) -> PrivatePrekey | None:
        return self._prekeys.get(prekey_id)

    def prekeys(self, kind: int) -> list[PrivatePrekey]:
        return [prekey for prekey in self._prekeys.values() if prekey.kind == kind]

    def last_prekey_id(self) -> bytes:
        return self._last_prekey_id

    def drop_prekeys(self, prekey_ids: Sequence[bytes]) -> None:
        for prekey_id in prekey_ids:
            self._prekeys.pop(prekey_id, None)

    def evidence_bytes(self) -> tuple[int, int]:
        size = sum(len(record) for record in self._records.values())
        size += sum(16 + 32 + len(message.leaf) for message in self._messages)
        size += sum(48 + 32 * len(recipient_set.device_ids) for recipient_set in self._sets.values())
        return len(self._messages), size
