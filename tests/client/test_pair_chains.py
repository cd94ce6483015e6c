"""Pair chains as they are computed from what is kept, against chains made one message after the other."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.identifiers import make_seq, parse_seq
from noise.protocol.pair_chain import ChainItem, Comparison, Cut, PairChain, new_chain
from noise.protocol.statements import MESSAGE_LEAF
from noise_client import MemoryTrustStore
from noise_client.evidence_store import Gained, KeptMessage
from noise_client.pair_chains import PairChains
from tests.client.conftest import Reopen
from tests.client.devices import ALICE
from tests.client.kept import base_of, gain, gain_epochs, message, record, set_of
from tests.vectors.cast import device_of, recipients_of

A, B, C = device_of("alice"), device_of("bob"), device_of("carol")
AB, AC, ABC = ("alice", "bob"), ("alice", "carol"), ("alice", "bob", "carol")
ROOTS = {recipients_of(*names).root: recipients_of(*names).device_ids for names in (AB, AC, ABC, ("alice",))}

Rows = Sequence[tuple[int, Sequence[tuple[str, ...]]]]


def items_of(messages: Sequence[KeptMessage], peer: bytes) -> list[ChainItem]:
    """By hand: the messages that a peer received too."""
    shared = [one for one in messages if peer in ROOTS[one.recipients_root]]
    return [ChainItem(one.seq, MESSAGE_LEAF.decode(one.leaf).env_hash) for one in shared]


def naive_cut(messages: Sequence[KeptMessage], peer: bytes, epoch: int) -> Cut:
    chain = new_chain(A, peer)
    for item in items_of(messages, peer):
        if parse_seq(item.seq)[0] <= epoch:
            chain = chain.append(*item)
    return chain.cut_at(epoch)


ROWS: Rows = [(0, [AB, ABC]), (3, [AC]), (4, [AB, AB, AC]), (9, [("alice",), AB])]


def test_every_cut_is_that_of_a_chain_made_by_hand(reopen: Reopen) -> None:
    store = reopen()
    messages = gain_epochs(store, ROWS)
    chains = PairChains(reopen(), A)
    for peer in (B, C):
        known = chains.known(peer, 12)
        assert [known.at(epoch) for epoch in range(12)] == [naive_cut(messages, peer, epoch) for epoch in range(12)]
        assert known.at(12) is Comparison.LATER


def test_a_message_at_the_very_first_seq_counts(reopen: Reopen) -> None:
    store = reopen()
    messages = gain_epochs(store, [(0, [AB])])
    assert messages[0].seq == bytes(16)
    assert PairChains(store, A).known(B, 1).at(0) == naive_cut(messages, B, 0)


def test_items_are_read_page_by_page(reopen: Reopen) -> None:
    store = reopen()
    expected = items_of(gain_epochs(store, ROWS), B)
    read = PairChains(store, A).items(B)
    assert (read(0, 2), read(2, 2), read(3, 99), read(5, 9), read(9, 9)) == (
        expected[:2],
        expected[2:4],
        expected[3:],
        [],
        [],
    )


def test_a_chain_grows_with_the_store_and_reads_nothing_twice() -> None:
    class Counting(MemoryTrustStore):
        read_count = 0

        def chain_leaves(self, peer: bytes, after_seq: bytes, count: int) -> list[bytes]:
            found = super().chain_leaves(peer, after_seq, count)
            self.read_count += len(found)
            return found

    store = Counting(ALICE)
    chains, messages = PairChains(store, A), []
    for k in range(40):
        messages.append(message(k, make_seq(k, 0, 0), *AB))
        gain(store, Gained([record(k)], messages[-1:], [set_of(*AB)]))
        assert chains.known(B, k + 1).at(k) == naive_cut(messages, B, k)
    assert store.read_count == 40


def test_more_messages_than_one_page(reopen: Reopen) -> None:
    messages = gain_epochs(reopen(), [(3, [AB] * 1500), (4, [AB] * 600)])
    chains = PairChains(reopen(), A)
    assert chains.known(B, 9).at(3) == naive_cut(messages, B, 3)
    assert chains.known(B, 9).at(4) == naive_cut(messages, B, 4)


def test_more_peers_than_the_cache_holds() -> None:
    store = MemoryTrustStore(ALICE)
    names = [f"peer {n}" for n in range(300)]
    pairs = [("alice", name) for name in names]
    messages = [message(0, make_seq(3, 0, n), *pair) for n, pair in enumerate(pairs)]
    gain(store, Gained([record(0)], messages, [set_of(*pair) for pair in pairs]))
    chains = PairChains(store, A)
    for _ in range(2):
        for name, kept in zip(names, messages, strict=True):
            item = ChainItem(kept.seq, MESSAGE_LEAF.decode(kept.leaf).env_hash)
            expected = new_chain(A, device_of(name)).append(*item).cut_at(4)
            assert chains.known(device_of(name), 5).at(4) == expected


def forget(chains: PairChains, store: MemoryTrustStore, next_k: int, rows: Rows) -> None:
    store.forget(base_of(next_k), chains.folded(next_k, rows[next_k - 1][0]))
    chains.forget_cached()


def test_after_forgetting_later_cuts_are_the_same_and_earlier_ones_are_unknown() -> None:
    store = MemoryTrustStore(ALICE)
    messages = gain_epochs(store, ROWS)
    chains = PairChains(store, A)
    forget(chains, store, 3, ROWS)
    for other in (chains, PairChains(store, A)):
        for peer in (B, C):
            known = other.known(peer, 12)
            assert [known.at(epoch) for epoch in range(4, 12)] == [naive_cut(messages, peer, e) for e in range(4, 12)]
            assert [known.at(epoch) for epoch in range(4)] == [Comparison.FORGOTTEN] * 4
        read = other.items(B)
        assert read(4, 9) == items_of(messages, B)[4:]
        with pytest.raises(NoiseError) as refused:
            read(3, 9)
        assert refused.value.code == "evidence-dropped"


def test_a_peer_without_a_forgotten_message_forgets_nothing() -> None:
    store = MemoryTrustStore(ALICE)
    rows: Rows = [(3, [AB]), (5, [AC])]
    messages = gain_epochs(store, rows)
    chains = PairChains(store, A)
    assert [pair.peer for pair in chains.folded(1, 3)] == [B]
    forget(chains, store, 1, rows)
    assert [chains.known(C, 9).at(epoch) for epoch in range(9)] == [naive_cut(messages, C, e) for e in range(9)]


def test_matches_only_move_forward_and_are_forgotten_with_what_they_matched(reopen: Reopen) -> None:
    store = reopen()
    messages = gain_epochs(store, ROWS)
    chains = PairChains(store, A)
    assert (chains.matched(B, 12), chains.matched_epoch(B)) == (None, -1)
    assert chains.note_match(B, naive_cut(messages, B, 4))
    assert not chains.note_match(B, naive_cut(messages, B, 4))
    assert not chains.note_match(B, naive_cut(messages, B, 3))
    chains = PairChains(reopen(), A)
    assert (chains.matched(B, 12), chains.matched_epoch(B)) == (naive_cut(messages, B, 4), 4)
    assert (chains.matched(C, 12), chains.matched_epoch(C)) == (None, -1)
    store = reopen()
    store.forget(base_of(4), PairChains(store, A).folded(4, 9))
    chains = PairChains(store, A)
    assert (chains.matched(B, 12), chains.matched_epoch(B)) == (None, 4), "what was compared stays known"


def test_there_is_no_chain_with_ourselves() -> None:
    with pytest.raises(DecodeError):
        PairChains(MemoryTrustStore(ALICE), A).known(A, 1)


NAMES = st.sampled_from([AB, AC, ABC, ("alice",)])


@given(
    st.dictionaries(st.integers(0, 12), st.lists(NAMES, max_size=4), min_size=1, max_size=8),
    st.lists(st.integers(0, 8), max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_chains_are_right_whatever_was_forgotten(epochs: dict[int, list[tuple[str, ...]]], cuts: list[int]) -> None:
    """However often, and with or without a chain in the cache: heads never depend on what is kept."""
    rows = sorted(epochs.items())
    store = MemoryTrustStore(ALICE)
    messages = gain_epochs(store, rows)
    chains, forgotten_k = PairChains(store, A), 0
    for cut in sorted(cuts):
        if forgotten_k < min(cut, len(rows)):
            forgotten_k = min(cut, len(rows))
            forget(chains, store, forgotten_k, rows)
        forgotten_epoch = rows[forgotten_k - 1][0] if forgotten_k else -1
        for peer in (B, C):
            known = chains.known(peer, 20)
            for epoch in range(20):
                found, expected = known.at(epoch), naive_cut(messages, peer, epoch)
                assert found == expected or (found is Comparison.FORGOTTEN and epoch <= forgotten_epoch)
            base = known.base
            rest = chains.items(peer)(base.length, 99)
            assert PairChain(new_chain(A, peer).pair, base.length, base.head).extend(rest).cut_at(19) == known.at(19)
