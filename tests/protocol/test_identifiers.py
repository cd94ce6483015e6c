"""Names: their hashes, texts and bytes, and that nothing but names is taken for one."""

from hashlib import sha256
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.errors import DecodeError
from noise.protocol.identifiers import (
    Actor,
    Role,
    device_id_of,
    format_id,
    make_seq,
    make_seqs,
    origin_of,
    parse_actor,
    parse_id,
    parse_seq,
)
from tests.vectors.cast import signer_of
from tests.vectors.make_identifiers import NO_ACTORS, NO_IDS

U16 = st.integers(0, 2**16 - 1)
U48 = st.integers(0, 2**48 - 1)
U64 = st.integers(0, 2**64 - 1)


def test_ids_by_hand() -> None:
    key = signer_of("alice").public_key
    assert device_id_of(key) == sha256(sha256(b"noise-seq/1/h/device").digest() + b"\x00\x01" + key).digest()
    assert origin_of(key) == sha256(sha256(b"noise-seq/1/h/origin").digest() + b"\x00\x01" + key).digest()
    assert device_id_of(key) != origin_of(key)


@given(st.binary(min_size=32, max_size=32))
def test_ids_have_one_text(identifier: bytes) -> None:
    text = format_id(identifier)
    assert len(text) == 43
    assert parse_id(text) == identifier


@pytest.mark.parametrize("text", NO_IDS, ids=ascii)
def test_no_ids(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_id(text)


@given(st.sampled_from(Role), U16, U16)
def test_actors_round_trip(role: Role, shard: int, number: int) -> None:
    actor = Actor(role, shard, number)
    assert len(actor.encode()) == 5
    assert parse_actor(actor.encode()) == actor
    assert type(parse_actor(actor.encode()).role) is Role


@given(st.binary(max_size=7))
def test_actors_are_total_and_injective(data: bytes) -> None:
    try:
        actor = parse_actor(data)
    except DecodeError:
        return
    assert actor.encode() == data


@pytest.mark.parametrize("encoded", NO_ACTORS)
def test_no_actors(encoded: str) -> None:
    with pytest.raises(DecodeError):
        parse_actor(bytes.fromhex(encoded))


def test_actors_in_the_order_of_their_bytes_are_in_order() -> None:
    actors = [Actor(*fields) for fields in product(Role, (0, 1, 256), (0, 2, 65535))]
    assert sorted(actors, key=Actor.encode) == sorted(actors) == actors
    assert str(Actor(Role.OUTBOX, 0, 3)) == "outbox-0-3"


@given(U64, U16, U48)
def test_seqs_round_trip(epoch: int, lane: int, pos: int) -> None:
    seq = make_seq(epoch, lane, pos)
    assert seq == epoch.to_bytes(8, "big") + lane.to_bytes(2, "big") + pos.to_bytes(6, "big")
    assert parse_seq(seq) == (epoch, lane, pos)


@given(st.lists(st.tuples(U64, U16, U48), min_size=2, max_size=5))
@settings(max_examples=50)
def test_byte_order_is_delivery_order(positions: list[tuple[int, int, int]]) -> None:
    assert [parse_seq(seq) for seq in sorted(make_seq(*p) for p in positions)] == sorted(positions)


@pytest.mark.parametrize("seq", [b"", bytes(15), bytes(17), bytes(32)])
def test_a_seq_has_16_bytes(seq: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_seq(seq)


def test_positions_do_not_run_into_the_next_lane() -> None:
    """The lane stands right above the position: one too many would be position 0 of another lane."""
    last = 2**48 - 1
    assert make_seqs(7, 3, last - 1, 2) == [make_seq(7, 3, last - 1), make_seq(7, 3, last)]
    assert make_seqs(7, 3, 2**48, 0) == []
    for first_pos, count in ((last, 2), (2**48, 1), (0, 2**48 + 1), (-1, 1), (-1, 2), (5, -1)):
        with pytest.raises(DecodeError):
            make_seqs(7, 3, first_pos, count)
    for epoch, lane, pos in ((0, 0, 2**48), (0, 65536, 0), (0, -1, 0), (-1, 0, 0), (2**64, 0, 0), (0, 0, -1)):
        with pytest.raises(DecodeError):
            make_seq(epoch, lane, pos)
