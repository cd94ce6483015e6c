"""Lies about the order of things, by the inbox that makes it: two manifests for one slot, and messages twice.

Knows nothing of what later stages do: they pass on, honestly, what was sequenced.
"""

from collections.abc import Callable

from noise.demo.zoo.lie import Lie, replace
from noise.node import Node
from noise.pipeline.batches import Accepted, SealedLane
from noise.pipeline.inbox import Inbox
from noise.pipeline.reissue import make_receipt
from noise.protocol.identifiers import make_seq, make_seqs, parse_actor
from noise.protocol.merkle import Tree, leaf_hashes
from noise.protocol.statements import MANIFEST, message_leaves
from noise.store.base import ID_STEP, StatementRow


def append(inbox: Inbox, epoch: int, accepted: Accepted) -> bytes:
    """Let an open epoch end with a bundle, which may be there already; the seq of its first message."""
    bundle, pos = accepted.bundle, sum(one.bundle.count for one in inbox._open.values())
    again = Accepted(bundle, accepted.data, inbox._next_id, make_seq(epoch, inbox.lane, pos))
    key = (bundle.sender, bundle.first_ctr)
    if key in inbox._open:
        key = (bundle.sender, -len(inbox._open))
    else:
        again.answers = accepted.answers
    inbox._open[key] = again
    inbox._next_id += ID_STEP
    return again.first_seq


class OtherManifest(Lie):
    """The sender's receipt is of another manifest than the one that counts, in which its message is not."""

    def change(self, node: Node) -> None:
        self._taken: Accepted | None = None
        for inbox in node.pipeline.inboxes:
            replace(inbox, "answer", self._answering)

    def before_sealing(self, inbox: Inbox, epoch: int) -> None:
        """Take the bundle of the message out; those behind it move up."""
        target = self.target
        if target is not None and not self.told and target.accepted in inbox._open.values():
            self._taken = target.accepted
            kept = [one for one in inbox._open.values() if one is not target.accepted]
            inbox._next_id -= len(inbox._open) * ID_STEP
            inbox._open = {}
            for accepted in kept:
                append(inbox, epoch, accepted)

    def after_sealing(self, inbox: Inbox, sealed: SealedLane, previous: bytes) -> None:
        """A second manifest for the slot, which ends with the message, and the receipt under it."""
        if self._taken is None or self.told:
            return
        slots, bundle = inbox._slots, self._taken.bundle
        first_pos = sum(accepted.bundle.count for accepted in sealed.bundles)
        first_seq = make_seq(sealed.epoch, sealed.lane, first_pos)
        leaves = [leaf for accepted in sealed.bundles for leaf in accepted.leaf_hashes]
        leaves += leaf_hashes(message_leaves(bundle, make_seqs(sealed.epoch, sealed.lane, first_pos, bundle.count)))
        tree = Tree(leaves)
        body = MANIFEST.pack(
            *(slots.origin, slots.actor, slots.incarnation, sealed.epoch, sealed.lane, tree.size, tree.root, previous)
        )
        signature = slots._signer.sign("manifest", slots.origin, body).signature
        statement = StatementRow(sealed.epoch, slots.actor, slots.incarnation, body, signature)
        self._receipt = make_receipt(statement, tree, first_seq, first_pos, bundle.count)
        self._unanswered = self._taken.answers
        self.tell(sealed.epoch, bundle.sender, first_seq, parse_actor(slots.actor))

    def _answering(self, answer: Callable[[SealedLane, Tree], None]) -> Callable[[SealedLane, Tree], None]:
        def answering(sealed: SealedLane, tree: Tree) -> None:
            answer(sealed, tree)
            if self.told and sealed.epoch == self.told[0].epoch and self._unanswered:
                for settle in self._unanswered:
                    settle(self._receipt)
                self._unanswered = []

        return answering
