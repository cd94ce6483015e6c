"""The log of epochs as a Merkle tree whose memory stays small: blocks for ever, leaves only while they are recent.

Knows nothing of what the leaves say. A block is the subtree over 256 leaves: some 150 bytes for 256 epochs. Older
leaves come back from the store, a block at a time, when a client resumes from far behind (`prepare`).
"""

from collections import OrderedDict

from noise.protocol.merkle import EMPTY_RANGE, CompactRange, make_range, node_hash, range_hashes, root_at, tree_root
from noise.store.base import Store, StoreCorrupt

BLOCK_LEVEL = 8
BLOCK_SIZE = 1 << BLOCK_LEVEL
_RECENT_BLOCKS = 64
RECENT_EPOCHS = _RECENT_BLOCKS * BLOCK_SIZE
"""How far behind a live subscriber may be, in epochs, at the very least."""

_LOADED_BLOCKS = 64


class EpochLog:
    """An append-only log of leaf hashes."""

    def __init__(self) -> None:
        self.range: CompactRange = EMPTY_RANGE
        self._blocks: list[list[bytes]] = [[]]  # [level - BLOCK_LEVEL][index]
        self._recent: dict[int, list[bytes]] = {}
        self._loaded: OrderedDict[int, list[bytes]] = OrderedDict()

    @property
    def size(self) -> int:
        return self.range.size

    def append(self, leaf_hash: bytes) -> bytes | None:
        """Add a leaf; returns the hash of the block that it completes, if it does."""
        block = self.size >> BLOCK_LEVEL
        leaves = self._recent.setdefault(block, [])
        leaves.append(leaf_hash)
        self.range = self.range.append(leaf_hash)
        if len(leaves) < BLOCK_SIZE:
            return None
        block_hash = tree_root(leaves)
        self.append_block(block_hash)
        self._recent.pop(block - _RECENT_BLOCKS, None)
        return block_hash

    def append_block(self, block_hash: bytes) -> None:
        """Add a whole block while the log is loaded: its leaves stay in the store; the loader sets `range`."""
        level, node = 0, block_hash
        while True:
            if level == len(self._blocks):
                self._blocks.append([])
            self._blocks[level].append(node)
            if len(self._blocks[level]) % 2:
                return
            node = node_hash(self._blocks[level][-2], node)
            level += 1

    def node(self, level: int, index: int) -> bytes:
        """The hash of a perfect subtree. Raises KeyError when its leaves are neither recent nor prepared."""
        if level >= BLOCK_LEVEL:
            return self._blocks[level - BLOCK_LEVEL][index]
        block = index << level >> BLOCK_LEVEL
        leaves = self._recent.get(block) or self._loaded[block]
        first = index << level & (BLOCK_SIZE - 1)
        return leaves[first] if level == 0 else tree_root(leaves[first : first + (1 << level)])

    def has(self, index: int) -> bool:
        """Whether the leaves around an index are at hand."""
        block = index >> BLOCK_LEVEL
        return index >= self.size or block in self._recent or block in self._loaded

    async def prepare(self, store: Store, *indexes: int) -> None:
        """Load the blocks around a few leaves; those loaded longest ago go. Raises StoreCorrupt."""
        for index in indexes:
            block = index >> BLOCK_LEVEL
            if block in self._loaded:
                self._loaded.move_to_end(block)
            if self.has(index):
                continue
            leaves = await store.leaf_hashes(block << BLOCK_LEVEL, (block + 1) << BLOCK_LEVEL)
            if len(leaves) != BLOCK_SIZE or tree_root(leaves) != self._blocks[0][block]:
                raise StoreCorrupt(f"log leaves from epoch {block << BLOCK_LEVEL} are damaged: run noise fsck")
            self._loaded[block] = leaves
            while len(self._loaded) > _LOADED_BLOCKS:
                self._loaded.popitem(last=False)

    def extension(self, first_index: int, next_index: int) -> list[bytes]:
        """What extends a client's compact range from one size to another. The ends must be at hand."""
        return range_hashes(self.node, first_index, next_index)

    def root(self) -> bytes:
        return root_at(self.node, self.size)


async def load_epoch_log(store: Store) -> EpochLog:
    """The log as the store has it. Raises StoreCorrupt when blocks are missing."""
    log = EpochLog()
    size = store.next_epoch
    blocks = await store.block_hashes()
    if len(blocks) != size >> BLOCK_LEVEL:
        raise StoreCorrupt(f"the log has {size} epochs but {len(blocks)} blocks: run noise fsck")
    for block_hash in blocks:
        log.append_block(block_hash)
    peaks = [log.node(level, (size >> level) - 1) for level in range(63, BLOCK_LEVEL - 1, -1) if size >> level & 1]
    log.range = make_range(size >> BLOCK_LEVEL << BLOCK_LEVEL, peaks)
    for leaf in await store.leaf_hashes(log.size, size):
        log.append(leaf)
    if log.size != size:
        raise StoreCorrupt(f"the log has {size} epochs but {log.size} leaves: run noise fsck")
    return log
