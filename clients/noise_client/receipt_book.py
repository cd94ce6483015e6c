"""Receipts that the provider has not honoured yet: each owes us our own copy of what we sent, as it was signed.

Knows nothing of connections. A receipt is settled once everything up to its epoch is verified: honoured, or a proof.
"""

from noise.protocol.encoding import Codec
from noise.protocol.envelope import Bundle, open_bundle
from noise.protocol.evidence.accuse import accuse_receipt
from noise.protocol.evidence.material import EvidenceUnavailable, Material
from noise.protocol.frames import RECEIPT, Receipt
from noise.protocol.identifiers import NO_EPOCH, make_seqs, parse_seq
from noise.protocol.statements import message_leaves
from noise_client.evidence_store import EvidenceStore, KeptReceipt

_RECEIPT: Codec[Receipt] = RECEIPT


class ReceiptBook:
    """Calls the store."""

    def __init__(self, store: EvidenceStore) -> None:
        self._store = store
        self._waiting = store.receipts()

    def add(self, bundle: Bundle, receipt: Receipt) -> None:
        """A verified receipt for a bundle of ours."""
        kept = KeptReceipt(receipt.first_seq, bundle.encode(), _RECEIPT.encode(receipt))
        self._store.save_receipt(kept)
        self._waiting.append(kept)

    @property
    def is_empty(self) -> bool:
        return not self._waiting

    @property
    def first_epoch(self) -> int:
        """Of the first that waits; NO_EPOCH: none does."""
        return min((parse_seq(kept.first_seq)[0] for kept in self._waiting), default=NO_EPOCH)

    def settle(self, next_epoch: int, material: Material) -> list[bytes]:
        """The proofs of those that are not honoured. `next_epoch`: everything before it is verified.

        In the middle of catching up there is nothing yet to prove it with: then a receipt waits.
        """
        proofs: list[bytes] = []
        for kept in [kept for kept in self._waiting if parse_seq(kept.first_seq)[0] < next_epoch]:
            try:
                proof = self._check(kept, material)
            except EvidenceUnavailable as error:
                if error.code == "evidence-future":
                    continue
                proof = None  # it was settled long ago, and came again
            if proof is not None:
                proofs.append(proof)
            self._store.drop_receipt(kept.first_seq)
            self._waiting.remove(kept)
        return proofs

    def _check(self, kept: KeptReceipt, material: Material) -> bytes | None:
        bundle = open_bundle(kept.bundle, material.origin)
        receipt = _RECEIPT.decode(kept.receipt)
        seqs = make_seqs(*parse_seq(receipt.first_seq), bundle.count)
        before = (int.from_bytes(seqs[0], "big") - 1).to_bytes(16, "big") if any(seqs[0]) else b""
        if self._store.chain_leaves(material.mailbox, before, bundle.count) == message_leaves(bundle, seqs):
            return None
        return accuse_receipt(material, receipt, bundle)
