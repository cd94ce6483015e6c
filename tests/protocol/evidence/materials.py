"""A client that keeps what it may have to show, and a provider that lies to some without forking its log.

Knows nothing of what anybody will be asked for. As `tests.protocol.story.Client`, which keeps nothing of the kind.
"""

from collections.abc import Sequence
from typing import TypeAlias

from noise.protocol.delta import Delta, RecipientLists, SignedRoster
from noise.protocol.envelope import Bundle, RecipientSet
from noise.protocol.evidence.material import Material
from noise.protocol.evidence.testimony import TESTIMONY, Testimony, testify
from noise.protocol.follower import Follower, new_lists
from noise.protocol.frames import Receipt, SignedManifest
from noise.protocol.identifiers import Actor, Role, make_seq, make_seqs
from noise.protocol.merkle import EMPTY_RANGE, CompactRange, Tree, leaf_hash, leaf_hashes
from noise.protocol.statements import EPOCH_RECORD, MANIFEST, Manifest, message_leaves
from tests.protocol.liar import TRUTH, Liar, Told
from tests.protocol.story import BOB
from tests.vectors.cast import ORIGIN, actor_key

INBOX = Actor(Role.INBOX, 0, 0)

Said: TypeAlias = Testimony
"""A test cannot import a class whose name begins like a test's."""


class Witness:
    """A device that follows a provider and keeps what it is told."""

    def __init__(self, mailbox: bytes = BOB) -> None:
        self.mailbox = mailbox
        self.counters: dict[bytes, int] = {}
        self.lists = RecipientLists()
        self.follower = Follower(ORIGIN, mailbox, last_counter=self.counters.get)
        self.base: CompactRange = EMPTY_RANGE
        self.records: list[bytes] = []
        self.leaves: dict[int, list[bytes]] = {}
        self.sets: dict[bytes, RecipientSet] = {}

    def take(self, delta: Delta) -> None:
        first_index = self.follower.cursor.hist_next
        step = self.follower.check_delta(delta, self.lists)
        self.follower.adopt(step)
        self.lists.admit(new_lists(delta))
        self.counters.update(step.counters)
        rest = iter(step.deliveries)
        for index, entry in enumerate(delta.history, first_index):
            came = [next(rest) for section in entry.sections for _ in section.rows]
            self.records.append(entry.record)
            self.leaves[index] = [delivery.leaf for delivery in came]
            lists = [delivery.recipients for delivery in came]
            self.sets.update((one.root, RecipientSet(one.env_salt, one.device_ids)) for one in lists)

    def follow(self, liar: Liar, n_epochs: int, first_epoch: int = 0) -> "Witness":
        """Every epoch in `[first_epoch, n_epochs)`, one by one."""
        for number in range(first_epoch, n_epochs):
            self.take(liar.delta(self.mailbox, self.follower.cursor, number=number))
        return self

    def forget(self, next_index: int) -> None:
        """All before record `next_index`."""
        n_records = next_index - self.base.size
        for record in self.records[:n_records]:
            self.leaves.pop(self.base.size)
            self.base = self.base.append(leaf_hash(record))
        del self.records[:n_records]

    def say(self, seq: bytes, peer: bytes) -> Said:
        """Our testimony, as it comes over a link."""
        return TESTIMONY.decode(TESTIMONY.encode(testify(self.material, seq, peer)))

    @property
    def material(self) -> Material:
        return Material(
            ORIGIN,
            self.mailbox,
            self.follower.trusted,
            self.base,
            tuple(self.records),
            lambda index: self.leaves.get(index, []),
            self.sets.get,
        )


def retell(liar: Liar, *told: Told) -> None:
    """The last epoch is signed anew, with other histories for some mailboxes. To everybody: the log is not forked."""
    liar.told.update((one.mailbox, one) for one in told)
    number = len(liar.epochs) - 1
    record = liar._sign(number, bytes(32), dict(liar.told), TRUTH)[0].record
    liar.epochs[number] = liar.epochs[number]._replace(told=dict(liar.told), record=EPOCH_RECORD.decode(record))
    liar.leaves[number] = leaf_hash(record)


def rosters_of(liar: Liar) -> tuple[SignedRoster, ...]:
    return tuple(SignedRoster(*signed) for signed in liar.rosters)


def sequence(epoch: int, bundles: Sequence[Bundle]) -> tuple[SignedManifest, list[Receipt]]:
    """The inbox's manifest of an epoch in which it accepted these bundles, and their receipts."""
    places = [sum(bundle.count for bundle in bundles[:i]) for i in range(len(bundles))]
    leaves = [
        leaf
        for bundle, first_pos in zip(bundles, places, strict=True)
        for leaf in message_leaves(bundle, make_seqs(epoch, 0, first_pos, bundle.count))
    ]
    tree = Tree(leaf_hashes(leaves))
    manifest = Manifest(ORIGIN, INBOX.encode(), 0, epoch, 0, len(leaves), tree.root, bytes(32))
    signed = SignedManifest(*actor_key(INBOX).sign("manifest", ORIGIN, MANIFEST.encode(manifest)))
    receipts = [
        Receipt(signed, make_seq(epoch, 0, pos), tuple(tree.prove_subset(pos, pos + bundle.count)))
        for bundle, pos in zip(bundles, places, strict=True)
    ]
    return signed, receipts
