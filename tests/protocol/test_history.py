"""A mailbox's history: each record continues the one before it, and the state commits to all of them."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import DecodeError
from noise.protocol.history import (
    HISTORY_RECORD,
    KIND_DEVICE,
    MAILBOX_STATE,
    STATUS_ACTIVE,
    History,
    MailboxState,
    apply_record,
    hash_state,
    map_key_of,
    new_history,
    next_record,
    own_ciphertexts_root,
)
from noise.protocol.identifiers import NO_EPOCH, NO_SEQ, make_seq
from noise.protocol.merkle import EMPTY_ROOT, leaf_hash, make_range, tree_root
from tests.vectors.cast import device_of
from tests.vectors.make_history import MAILBOX, grow, refused_states

EPOCHS = st.lists(
    st.tuples(st.integers(1, 1000), st.integers(1, 2**32 - 1), st.binary(min_size=32, max_size=32)),
    min_size=1,
    max_size=20,
)


def test_a_new_history_by_hand() -> None:
    state = new_history(MAILBOX, 5).state
    assert MAILBOX_STATE.encode(state) == b"".join(
        (
            *(b"\x00\x0a", MAILBOX, bytes(4), (5).to_bytes(8, "big"), b"\x01", b"\x01", b"\xff" * 8, bytes(32)),
            *(bytes(8), sha256(b"").digest(), b"\xff" * 8, bytes(16), bytes(8)),
        )
    )
    assert (KIND_DEVICE, STATUS_ACTIVE) == (1, 1)
    assert bytes(16) == NO_SEQ
    assert NO_EPOCH == 2**64 - 1


@given(EPOCHS)
@settings(max_examples=30)
def test_every_record_continues_the_one_before(steps: list[tuple[int, int, bytes]]) -> None:
    epoch, history, leaves, total = 0, new_history(MAILBOX, 0), [], 0
    previous_epoch = NO_EPOCH
    for skipped, n_messages, delta_root in steps:
        epoch += skipped
        record = next_record(history, epoch, n_messages, delta_root, (0, EMPTY_ROOT))
        assert (record.k, record.prev_epoch) == (len(leaves), previous_epoch)
        assert record.prev_root == tree_root([leaf_hash(leaf) for leaf in leaves])
        encoded = HISTORY_RECORD.encode(record)
        before = history
        history = apply_record(history, record, encoded, make_seq(epoch, 0, n_messages))
        leaves.append(encoded)
        total += n_messages
        previous_epoch = epoch
        state = history.state
        assert (state.hist_size, state.last_epoch, state.total) == (len(leaves), epoch, total)
        assert state.hist_root == tree_root([leaf_hash(leaf) for leaf in leaves]) == history.records.root()
        assert state.last_seq == make_seq(epoch, 0, n_messages)
        kept = ("mailbox", "gen", "since_epoch", "kind", "status", "until_epoch", "target")
        assert all(getattr(state, name) == getattr(before.state, name) for name in kept)
        assert MAILBOX_STATE.decode(MAILBOX_STATE.encode(state)) == state


def test_applying_is_pure() -> None:
    history = new_history(MAILBOX, 5)
    record = next_record(history, 5, 1, bytes(32), (0, EMPTY_ROOT))
    copies = [apply_record(history, record, HISTORY_RECORD.encode(record), make_seq(5, 0, 0)) for _ in range(2)]
    assert copies[0] == copies[1] != history == new_history(MAILBOX, 5)


def test_a_history_goes_on_from_its_peaks_alone() -> None:
    """What a client stores: the state, and a compact range that must lead to the state's root."""
    for history, _ in grow():
        again = History(history.state, make_range(history.state.hist_size, history.records.peaks))
        assert again == history
        assert again.records.root() == history.state.hist_root


def test_every_field_of_a_record_and_a_state_counts() -> None:
    """No two histories that differ anywhere have one state hash."""
    base = grow()[-1][0]
    record = next_record(base, 2**64 - 2, 1, bytes(32), (0, EMPTY_ROOT))
    for codec, value in ((HISTORY_RECORD, record), (MAILBOX_STATE, base.state)):
        seen = {codec.encode(value)}
        for name, field in value._asdict().items():
            other = field ^ 1 if isinstance(field, int) else bytes([field[0] ^ 1]) + field[1:]
            seen.add(codec.encode(value._replace(**{name: other})))
        assert len(seen) == 1 + len(value)


@pytest.mark.parametrize(
    ("why", "state"), refused_states(grow()[-1][0].state), ids=lambda part: part if isinstance(part, str) else ""
)
def test_states_that_mean_nothing_yet_are_refused(why: str, state: MailboxState) -> None:
    with pytest.raises(DecodeError):
        MAILBOX_STATE.decode(MAILBOX_STATE.encode(state))
    with pytest.raises(DecodeError):
        MAILBOX_STATE.from_json(MAILBOX_STATE.to_json(state))


def test_own_ciphertexts_by_hand() -> None:
    items = [(make_seq(1, 0, n), sha256(bytes([n])).digest()) for n in range(3)]
    leaves = [sha256(b"\x00" + b"\x00\x14" + seq + h).digest() for seq, h in items]
    root = sha256(b"\x01" + sha256(b"\x01" + leaves[0] + leaves[1]).digest() + leaves[2]).digest()
    assert own_ciphertexts_root(items) == (3, root)
    assert own_ciphertexts_root([]) == (0, sha256(b"").digest())
    assert own_ciphertexts_root(items[:1]) == (1, leaves[0])


def test_map_keys_and_state_hashes_by_hand() -> None:
    """Nobody can choose ids that stand close together in the map: their places are hashes of them."""
    for name in ("alice", "bob"):
        key = sha256(sha256(b"noise-seq/1/h/mapkey").digest() + device_of(name)).digest()
        assert map_key_of(device_of(name)) == key
    encoded = MAILBOX_STATE.encode(grow()[0][0].state)
    assert hash_state(encoded) == sha256(sha256(b"noise-seq/1/h/state").digest() + encoded).digest()
