"""Our pair chains, computed from the kept messages when they are needed, and how far each was compared.

Knows nothing of how cuts travel, nor what a difference means. Calls the store.
"""

from collections import OrderedDict
from collections.abc import Sequence

from noise.protocol.errors import NoiseError
from noise.protocol.gossip import ItemsReader
from noise.protocol.identifiers import NO_SEQ, parse_seq
from noise.protocol.pair_chain import ChainItem, Cut, KnownCuts, PairChain, new_chain
from noise.protocol.statements import MESSAGE_LEAF
from noise_client.evidence_store import EvidenceStore, Pair

_PAGE_LEAVES = 1024
_PEERS_CACHED_MAX = 256


class _Chain:
    """One pair's, from its base on."""

    __slots__ = ("base", "base_epoch", "has_written", "items", "last_seq", "now", "steps")

    def __init__(self, base: PairChain, base_seq: bytes) -> None:
        self.base = base
        self.base_epoch = parse_seq(base_seq)[0]
        self.now = base
        self.last_seq = base_seq
        self.items: list[ChainItem] = []
        self.steps: list[Cut] = []
        self.has_written = base.length > 0

    def extend(self, leaves: Sequence[bytes], device_id: bytes) -> None:
        for encoded in leaves:
            leaf = MESSAGE_LEAF.decode(encoded)
            self.has_written = self.has_written or leaf.sender == device_id
            item = ChainItem(leaf.seq, leaf.env_hash)
            self.now = self.now.append(*item)
            self.items.append(item)
            self.last_seq = leaf.seq
            cut = self.now.cut_at(parse_seq(leaf.seq)[0])
            if self.steps and self.steps[-1].epoch == cut.epoch:
                self.steps[-1] = cut
            else:
                self.steps.append(cut)


class PairChains:
    def __init__(self, store: EvidenceStore, device_id: bytes) -> None:
        self._store = store
        self._device_id = device_id
        self._chains: OrderedDict[bytes, _Chain] = OrderedDict()

    def _pair(self, peer: bytes) -> Pair:
        return self._store.pair(peer) or Pair(peer, NO_SEQ, 0, new_chain(self._device_id, peer).head, 0, -1)

    def _chain(self, peer: bytes) -> _Chain:
        chain = self._chains.get(peer)
        if chain is None:
            pair = self._pair(peer)
            empty = new_chain(self._device_id, peer)
            chain = _Chain(PairChain(empty.pair, pair.base_length, pair.base_head), pair.base_seq)
            self._chains[peer] = chain
            if len(self._chains) > _PEERS_CACHED_MAX:
                self._chains.popitem(last=False)
        self._chains.move_to_end(peer)
        while leaves := self._store.chain_leaves(peer, chain.last_seq if chain.now.length else b"", _PAGE_LEAVES):
            chain.extend(leaves, self._device_id)  # a first message may stand at NO_SEQ
        return chain

    def known(self, peer: bytes, next_epoch: int) -> KnownCuts:
        """Our side of every comparison with a peer. `next_epoch`: those before are verified, with all their messages.

        Raises DecodeError when the peer is ourselves, or no device.
        """
        chain = self._chain(peer)
        return KnownCuts(chain.base.cut_at(chain.base_epoch), chain.steps, next_epoch)

    def has_written(self, peer: bytes) -> bool:
        """Whether we ever wrote to a peer, as far as is kept: nobody else can make that so."""
        return self._chain(peer).has_written

    def items(self, peer: bytes) -> ItemsReader:
        """A reader of our chain's items. It raises NoiseError "evidence-dropped" behind the base."""
        chain = self._chain(peer)

        def read(after_length: int, count: int) -> Sequence[ChainItem]:
            first = after_length - chain.base.length
            if first < 0:
                raise NoiseError("the chain is not kept that far back", code="evidence-dropped")
            return chain.items[first : first + count]

        return read

    def matched(self, peer: bytes, next_epoch: int) -> Cut | None:
        """The last cut that matched, if it is still known."""
        pair = self._pair(peer)
        if pair.matched_epoch < 0:
            return None
        cut = self.known(peer, next_epoch).at(pair.matched_epoch)
        return cut if isinstance(cut, Cut) else None

    def matched_epoch(self, peer: bytes) -> int:
        """Of the last cut that matched; -1: none did."""
        return self._pair(peer).matched_epoch

    def note_match(self, peer: bytes, cut: Cut) -> bool:
        """Both chains are the same at a cut. Whether that is news."""
        pair = self._pair(peer)
        if cut.epoch <= pair.matched_epoch:
            return False
        self._store.save_pairs([pair._replace(matched_length=cut.length, matched_epoch=cut.epoch)])
        return True

    def disputed_seq(self, peer: bytes) -> bytes:
        """Where the last dispute found the first difference; empty: there was none."""
        return self._pair(peer).disputed_seq

    def note_difference(self, peer: bytes, seq: bytes) -> None:
        """A dispute has found the first difference: the peer will want to know what we were told there."""
        pair = self._pair(peer)
        if pair.disputed_seq != seq:
            self._store.save_pairs([pair._replace(disputed_seq=seq)])

    def folded(self, next_k: int, last_epoch: int) -> list[Pair]:
        """The pairs as they are once the records before `next_k`, up to `last_epoch`, are forgotten."""
        folded = []
        for peer in self._store.peers(next_k):
            if peer != self._device_id:
                chain = self._chain(peer)
                n_items = sum(1 for item in chain.items if parse_seq(item.seq)[0] <= last_epoch)
                if n_items:
                    base = chain.base.extend(chain.items[:n_items])
                    last_seq = chain.items[n_items - 1].seq
                    folded.append(
                        self._pair(peer)._replace(base_seq=last_seq, base_length=base.length, base_head=base.head)
                    )
        return folded

    def forget_cached(self) -> None:
        """The bases have moved."""
        self._chains.clear()
