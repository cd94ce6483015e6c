"""The contract of `EvidenceStore`, sentence by sentence, for both of them; then what only a file can do."""

import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from noise.protocol.identifiers import NO_SEQ, make_seq
from noise.protocol.merkle import EMPTY_RANGE
from noise.protocol.prekeys import FALLBACK, NO_PREKEY_ID, ONE_TIME
from noise_client import SqliteTrustStore, TrustStore, TrustStoreError, create_device_file
from noise_client.evidence_store import (
    NOTES_MAX,
    PROOFS_MAX,
    Gained,
    KeptProof,
    KeptReceipt,
    Pair,
)
from tests.client.conftest import Reopen
from tests.client.devices import ALICE
from tests.client.kept import (
    base_of,
    gain,
    gain_epochs,
    leaf_of,
    message,
    note,
    private_prekey,
    record,
    set_of,
)
from tests.vectors.cast import ORIGIN, device_of, filler, recipients_of

A, B, C = device_of("alice"), device_of("bob"), device_of("carol")
AB, ABC = ("alice", "bob"), ("alice", "bob", "carol")


def pair(peer: bytes, length: int = 0, epoch: int = -1) -> Pair:
    return Pair(peer, make_seq(3, 0, length), length, filler(f"head {length}", 32), length, epoch)


def test_a_new_store_holds_no_evidence(reopen: Reopen) -> None:
    store = reopen()
    assert (store.base(), store.records(0), store.leaves(0), store.recipient_set(bytes(32))) == (
        EMPTY_RANGE,
        [],
        [],
        None,
    )
    assert (store.chain_leaves(B, b"", 9), store.peers(2**62), store.pair(B)) == ([], [], None)
    assert (store.notes(), store.receipts(), store.proofs(), store.prekeys(ONE_TIME)) == ([], [], [], [])
    assert (store.prekey(bytes(8)), store.last_prekey_id(), store.evidence_bytes()) == (None, NO_PREKEY_ID, (0, 0))


def test_what_a_step_gains_is_kept(reopen: Reopen) -> None:
    messages = gain_epochs(reopen(), [(3, [AB, ABC]), (5, [AB])])
    store = reopen()
    assert store.records(0) == [record(0).record, record(1).record]
    assert store.records(1) == [record(1).record]
    assert store.records(2) == []
    assert store.leaves(0) == [one.leaf for one in messages[:2]]
    assert store.leaves(1) == [messages[2].leaf]
    assert store.leaves(2) == []
    for names in (AB, ABC):
        root, recipient_set = set_of(*names)
        assert store.recipient_set(root) == recipient_set


def test_what_is_kept_already_stays_as_it_is(reopen: Reopen) -> None:
    store = reopen()
    [first] = gain_epochs(store, [(3, [AB])])
    store.save_note(note(4))
    again = first._replace(leaf=leaf_of(first.seq, recipients_of(*ABC)))
    other = Gained([record(0)._replace(record=b"other")], [again], [set_of(*AB)], [note(4)._replace(note=b"other")])
    gain(store, other)
    store = reopen()
    assert (store.records(0), store.leaves(0), store.notes()) == ([record(0).record], [first.leaf], [note(4)])
    assert store.evidence_bytes()[0] == 1
    assert store.chain_leaves(B, b"", 9) == [first.leaf]


def test_seqs_in_order_also_across_lanes_and_records(reopen: Reopen) -> None:
    store = reopen()
    seqs = [make_seq(3, 0, 1), make_seq(3, 1, 0), make_seq(4, 0, 0), make_seq(2**40, 0, 0)]
    for k, seq in enumerate(seqs):
        gain(store, Gained([record(k)], [message(0, seq, *AB)], [set_of(*AB)]))
    expected = [message(0, seq, *AB).leaf for seq in seqs]
    assert store.leaves(0) == store.chain_leaves(B, b"", 9) == expected


def test_a_chain_is_what_a_peer_received_too_after_a_seq_and_no_more_than_asked(reopen: Reopen) -> None:
    messages = gain_epochs(reopen(), [(0, [AB]), (3, [ABC, AB, ("alice", "carol")]), (9, [("alice",), ABC])])
    leaves = [one.leaf for one in messages]
    store = reopen()
    assert store.chain_leaves(B, b"", 9) == [leaves[0], leaves[1], leaves[2], leaves[5]]
    assert store.chain_leaves(B, b"", 2) == leaves[:2]
    assert store.chain_leaves(B, b"", 0) == []
    assert store.chain_leaves(B, NO_SEQ, 9) == [leaves[1], leaves[2], leaves[5]], "the first stands at NO_SEQ itself"
    assert store.chain_leaves(B, messages[2].seq, 9) == [leaves[5]]
    assert store.chain_leaves(C, messages[1].seq, 1) == [leaves[3]]
    assert store.chain_leaves(C, messages[5].seq, 9) == []
    assert store.chain_leaves(A, b"", 9) == leaves
    assert store.chain_leaves(device_of("dave"), b"", 9) == []


def test_peers_are_all_recipients_of_the_records_before(reopen: Reopen) -> None:
    store = reopen()
    gain_epochs(store, [(3, [AB]), (4, []), (5, [ABC, AB])])
    assert [store.peers(next_k) for next_k in range(4)] == [[], sorted([A, B]), sorted([A, B]), sorted([A, B, C])]


def test_a_pair_is_what_was_saved_last(reopen: Reopen) -> None:
    store = reopen()
    store.save_pairs([pair(B, 1), pair(C, 1)])
    store.save_pairs([pair(B, 2, 2**50)])
    store.save_pairs([])
    store = reopen()
    assert (store.pair(B), store.pair(C), store.pair(A)) == (pair(B, 2, 2**50), pair(C, 1), None)


def test_forgetting_leaves_the_range_and_what_comes_after(reopen: Reopen) -> None:
    store = reopen()
    messages = gain_epochs(store, [(3, [AB, ("alice", "dave")]), (4, [ABC]), (5, [AB])])
    store.save_pairs([pair(C, 1)])
    store.forget(base_of(2), [pair(B, 2)])
    store = reopen()
    assert store.base() == base_of(2)
    assert store.records(0) == store.records(2) == [record(2).record]
    assert (store.leaves(0), store.leaves(1), store.leaves(2)) == ([], [], [messages[3].leaf])
    assert store.chain_leaves(B, b"", 9) == [messages[3].leaf]
    assert store.chain_leaves(C, b"", 9) == store.chain_leaves(device_of("dave"), b"", 9) == []
    assert store.peers(9) == sorted([A, B])
    assert (store.pair(B), store.pair(C)) == (pair(B, 2), pair(C, 1))
    kept = [store.recipient_set(set_of(*names)[0]) is not None for names in (AB, ABC, ("alice", "dave"))]
    assert kept == [True, False, False], "a set is forgotten with its last message, and not before"


def test_a_set_that_was_forgotten_may_come_back(reopen: Reopen) -> None:
    store = reopen()
    gain_epochs(store, [(3, [AB])])
    store.forget(base_of(1), [])
    assert (store.records(0), store.peers(9), store.evidence_bytes()) == ([], [], (0, 0))
    later = message(1, make_seq(4, 0, 0), *AB)
    gain(store, Gained([record(1)], [later], [set_of(*AB)]))
    store = reopen()
    assert store.chain_leaves(B, b"", 9) == [later.leaf]
    assert store.recipient_set(set_of(*AB)[0]) == set_of(*AB)[1]


def test_the_largest_notes_of_each_kind_are_kept(reopen: Reopen) -> None:
    store = reopen()
    for size in range(NOTES_MAX + 3, 0, -1):
        store.save_note(note(size))
    for size in (2, 1, 3):
        store.save_note(note(size, is_distinguished=True))
    gain(store, Gained(notes=[note(NOTES_MAX + 4), note(1)]))
    expected = [note(size, is_distinguished=True) for size in (1, 2, 3)]
    expected += [note(size) for size in range(5, NOTES_MAX + 5)]
    assert reopen().notes() == expected


def test_both_kinds_of_note_may_have_one_size(reopen: Reopen) -> None:
    store = reopen()
    store.save_note(note(5, is_distinguished=True))
    store.save_note(note(5))
    store.save_note(note(5)._replace(note=b"another"))
    assert reopen().notes() == [note(5), note(5, is_distinguished=True)]


def test_receipts_are_kept_until_they_are_dropped(reopen: Reopen) -> None:
    store = reopen()
    receipts = [KeptReceipt(make_seq(n, 0, 0), b"bundle %d" % n, b"receipt %d" % n) for n in (9, 3, 5)]
    for receipt in receipts:
        store.save_receipt(receipt)
    store.save_receipt(receipts[0])
    assert reopen().receipts() == [receipts[1], receipts[2], receipts[0]]
    reopen().drop_receipt(receipts[2].first_seq)
    reopen().drop_receipt(receipts[2].first_seq)
    assert reopen().receipts() == [receipts[1], receipts[0]]


def test_a_proof_is_new_once_and_the_first_ones_are_kept(reopen: Reopen) -> None:
    store = reopen()
    proofs = [KeptProof(PROOFS_MAX - n, b"proof %d" % n) for n in range(PROOFS_MAX + 1)]
    assert store.save_proof(proofs[0])
    assert not store.save_proof(proofs[0]._replace(time_ms=99))
    assert [store.save_proof(proof) for proof in proofs[1:]] == [True] * (PROOFS_MAX - 1) + [False]
    assert reopen().proofs() == proofs[:PROOFS_MAX]


def test_prekeys_by_id_and_by_kind_the_newest_last(reopen: Reopen) -> None:
    store = reopen()
    keys = [private_prekey(9), private_prekey(3, FALLBACK, 2**42), private_prekey(5), private_prekey(11, FALLBACK)]
    store.save_prekeys(keys[:2])
    store.save_prekeys(keys[2:])
    store = reopen()
    assert store.prekeys(ONE_TIME) == [keys[0], keys[2]]
    assert store.prekeys(FALLBACK) == [keys[1], keys[3]]
    assert [store.prekey(key.prekey_id) for key in keys] == keys
    assert store.prekey(private_prekey(4).prekey_id) is None


def test_prekeys_that_are_dropped_or_spent_are_forgotten_but_their_ids_are_not(reopen: Reopen) -> None:
    store = reopen()
    keys = [private_prekey(n) for n in (1, 2, 3, 4)]
    store.save_prekeys(keys)
    store.drop_prekeys([keys[3].prekey_id, keys[1].prekey_id, keys[1].prekey_id])
    assert reopen().prekeys(ONE_TIME) == [keys[0], keys[2]]
    store = reopen()
    gain(store, Gained(spent=[keys[2].prekey_id, filler("unknown", 8)]))
    store = reopen()
    assert store.prekeys(ONE_TIME) == keys[:1]
    assert store.prekey(keys[2].prekey_id) is None
    assert store.last_prekey_id() == keys[3].prekey_id
    store.save_prekeys([private_prekey(2)])
    assert reopen().last_prekey_id() == keys[3].prekey_id
    reopen().save_prekeys([private_prekey(256), private_prekey(255)])
    assert reopen().last_prekey_id() == private_prekey(256).prekey_id


def test_evidence_is_counted_in_bytes(reopen: Reopen) -> None:
    store = reopen()
    messages = gain_epochs(store, [(3, [AB, ABC]), (4, [AB])])
    size = sum(len(record(k).record) for k in range(2)) + sum(48 + len(one.leaf) for one in messages)
    assert store.evidence_bytes() == (3, size + 2 * 48 + 5 * 32)
    store.forget(base_of(1), [])
    assert store.evidence_bytes() == (1, len(record(1).record) + 48 + len(messages[2].leaf) + 48 + 2 * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_device_file(tmp_path / "alice.device", ALICE)
    return tmp_path / "alice.device"


@contextmanager
def opened(path: Path) -> Iterator[SqliteTrustStore]:
    store = SqliteTrustStore(path)
    try:
        yield store
    finally:
        store.close()


def fill(store: TrustStore) -> None:
    gain_epochs(store, [(3, [AB]), (4, [ABC])])
    store.save_pairs([pair(B, 1), pair(C, 1)])
    store.save_note(note(4))
    store.save_receipt(KeptReceipt(make_seq(9, 0, 0), b"bundle", b"receipt"))
    store.save_proof(KeptProof(1, b"proof"))
    store.save_prekeys([private_prekey(1), private_prekey(2, FALLBACK)])


def all_of(store: TrustStore) -> tuple[object, ...]:
    kept = (store.load(), store.base(), store.records(0), [store.leaves(k) for k in range(9)], store.peers(9))
    more = (store.evidence_bytes(), [store.pair(peer) for peer in (A, B, C)], store.notes(), store.receipts())
    sets = [store.recipient_set(set_of(*names)[0]) for names in (AB, ABC, ("alice",))]
    prekeys = (store.prekeys(ONE_TIME), store.prekeys(FALLBACK), store.last_prekey_id())
    return kept + more + (sets, prekeys, store.proofs(), [store.chain_leaves(peer, b"", 9) for peer in (A, B, C)])


def _step(store: TrustStore) -> None:
    gained = Gained(
        [record(2)],
        [message(2, make_seq(5, 0, 0), "alice")],
        [set_of("alice")],
        [note(5), note(5, is_distinguished=True)],
        [private_prekey(1).prekey_id],
    )
    gain(store, gained, b"other trust")


CHANGES: dict[str, tuple[Callable[[TrustStore], object], str]] = {
    "step": (_step, "DELETE ON prekeys"),
    "forget": (lambda store: store.forget(base_of(1), [pair(B, 5)]), "INSERT ON pairs"),
    "pairs": (
        lambda store: store.save_pairs([pair(A, 7), pair(B, 7)]),
        f"INSERT ON pairs WHEN NEW.peer = x'{B.hex()}'",
    ),
    "note": (lambda store: [store.save_note(note(n)) for n in range(10, 10 + NOTES_MAX)], "DELETE ON notes"),
    "proof": (lambda store: store.save_proof(KeptProof(2, b"another")), "INSERT ON proofs"),
    "receipt": (lambda store: store.save_receipt(KeptReceipt(NO_SEQ, b"b", b"r")), "INSERT ON receipts"),
    "honoured": (lambda store: store.drop_receipt(make_seq(9, 0, 0)), "DELETE ON receipts"),
    "prekeys": (lambda store: store.save_prekeys([private_prekey(3), private_prekey(4)]), "UPDATE ON last_prekey"),
    "drop": (
        lambda store: store.drop_prekeys([private_prekey(1).prekey_id, private_prekey(2).prekey_id]),
        f"DELETE ON prekeys WHEN OLD.prekey_id = x'{private_prekey(2).prekey_id.hex()}'",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_method_that_fails_at_its_end_leaves_nothing_half(path: Path, name: str) -> None:
    change, moment = CHANGES[name]
    with opened(path) as store:
        fill(store)
        if name == "note":
            for n in range(5, 4 + NOTES_MAX):
                store.save_note(note(n))
        before = all_of(store)
    db = sqlite3.connect(path)
    db.execute(f"CREATE TRIGGER crash AFTER {_with_action(moment)}")
    db.close()
    with opened(path) as store:
        with pytest.raises(TrustStoreError, match="as the test says"):
            change(store)
        assert all_of(store) == before
    db = sqlite3.connect(path)
    db.execute("DROP TRIGGER crash")
    db.close()
    with opened(path) as store:
        assert all_of(store) == before
        change(store)
        assert all_of(store) != before


def _with_action(moment: str) -> str:
    return f"{moment} BEGIN SELECT RAISE(FAIL, 'as the test says'); END"


KILLED = """
    import os, sys
    from noise_client import SqliteTrustStore
    from tests.client.test_evidence_store import _step, fill
    store = SqliteTrustStore(sys.argv[1])
    fill(store)
    _step(store)
    if sys.argv[2] == "inside":
        store._db.execute("BEGIN IMMEDIATE")
        store._db.execute("DELETE FROM records")
        store._db.execute("DELETE FROM prekeys")
    os._exit(9)
"""


@pytest.mark.parametrize("moment", ["after", "inside"])
def test_a_killed_process_leaves_whole_steps(path: Path, tmp_path: Path, moment: str) -> None:
    """`inside`: in the middle of another transaction."""
    create_device_file(tmp_path / "other.device", ALICE)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path), moment]
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": ""}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (killed.returncode, killed.stderr) == (9, "")
    with opened(path) as store, opened(tmp_path / "other.device") as other:
        fill(other)
        _step(other)
        assert all_of(store)[1:] == all_of(other)[1:]
        assert store.load().trusted == b"other trust"
        assert store.load().origin == ORIGIN
