"""What holds for every codec of the package alike, found by looking for them: a new structure is tested unasked."""

import struct
import tracemalloc
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol import envelope, history, statements
from noise.protocol.encoding import Codec, StructCodec, _List, _Opaque, _Optional, _Text, _UInt, _Vec
from noise.protocol.errors import DecodeError
from noise.protocol.json_text import encode_json, parse_json
from tests.protocol.structures import CODECS, STRUCTS, damaged, damaged_json, record_type_of, values

DAMAGES = 20  # for each example that Hypothesis draws: making a value costs more than damaging it

every_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
every_struct = pytest.mark.parametrize("codec", STRUCTS.values(), ids=STRUCTS)


@cache
def some_value(codec: Codec[Any]) -> Any:
    """One value, not the simplest: with something in every list."""
    found: list[Any] = []

    @settings(max_examples=10, database=None, derandomize=True)
    @given(values(codec))
    def look(value: Any) -> None:
        found.append(value)

    look()
    return max(found, key=lambda value: len(codec.encode(value)))


def test_all_structures_are_found() -> None:
    some = {"HASHES", "delta.Delta", "frames.DeltaFrame", "envelope.BundleWire", "statements.Roster", "signing.Signed"}
    assert some <= set(CODECS)
    assert len(CODECS) > 35


def test_record_types_are_unique() -> None:
    """A u16 of its own begins every body that is signed or hashed and every leaf, so that none is taken for another."""
    types = {name: record_type_of(codec) for name, codec in STRUCTS.items() if record_type_of(codec) is not None}
    leaves = {
        f"{module.__name__}.{name}": int.from_bytes(value, "big")
        for module in (envelope, history, statements)
        for name, value in vars(module).items()
        if name.endswith("_LEAF") and isinstance(value, bytes)
    }
    numbers = [*types.values(), *leaves.values()]
    assert len(set(numbers)) == len(numbers) == 24 + 5
    assert sorted(types.values()) == [*range(1, 15), 21, 22, *range(24, 32)]


@every_codec
@settings(max_examples=10)
@given(data=st.data())
def test_both_faces_round_trip(codec: Codec[Any], data: st.DataObject) -> None:
    value = data.draw(values(codec))
    encoded = codec.encode(value)
    assert codec.decode(encoded) == value
    assert type(codec.decode(encoded)) is type(value)
    assert len(encoded) >= codec.min_size
    if isinstance(codec, StructCodec) and codec._fixed is not None:
        assert codec.pack(*value) == encoded
        assert len(encoded) == codec.min_size
    assert codec.from_json(parse_json(encode_json(codec.to_json(value)))) == value


def check_total_and_injective(codec: Codec[Any], data: bytes) -> bool:
    """Decode what may be anything: DecodeError, or a value that encodes to the very bytes."""
    try:
        value = codec.decode(data)
    except DecodeError:
        return False
    assert codec.encode(value) == data
    return True


@every_codec
@settings(max_examples=10)
@given(data=st.data(), random=st.randoms(use_true_random=False))
def test_damaged(codec: Codec[Any], data: st.DataObject, random: Random) -> None:
    """Damaged JSON may be a value, too, but only one that is in the codec's domain: its binary face has it as well."""
    value = data.draw(values(codec))
    encoded, shown = codec.encode(value), codec.to_json(value)
    for _ in range(DAMAGES):
        check_total_and_injective(codec, damaged(encoded, random))
        try:
            other = codec.from_json(damaged_json(shown, random))
        except DecodeError:
            continue
        assert codec.decode(codec.encode(other)) == other


@every_codec
def test_arbitrary_bytes(codec: Codec[Any], search_factor: int) -> None:
    random = Random(1)
    prefix = getattr(codec, "_prefix", b"")
    for _ in range(50 * search_factor):
        size = random.choice((0, 1, codec.min_size - 1, codec.min_size, random.randrange(400)))
        body = random.randbytes(max(size, 0))
        for data in (body, bytes(len(body)), prefix + body, prefix + bytes(len(body))):
            check_total_and_injective(codec, data)


@every_codec
def test_nothing_may_be_cut_off_or_added(codec: Codec[Any]) -> None:
    encoded = codec.encode(some_value(codec))
    for size in range(len(encoded)):
        assert not check_total_and_injective(codec, encoded[:size])
    for extra in (b"\0", b"\x01", bytes(32), encoded):
        assert not check_total_and_injective(codec, encoded + extra)


@every_codec
def test_counts_are_checked_before_anything_is_allocated(codec: Codec[Any]) -> None:
    """Whatever is read as a count or a length says 2**32 - 1, at every place: no memory to speak of is asked for."""
    encoded = codec.encode(some_value(codec))
    tracemalloc.start()
    try:
        for at in range(min(len(encoded), 600)):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            check_total_and_injective(codec, encoded[:at] + b"\xff\xff\xff\xff" + encoded[at + 4 :])
            assert tracemalloc.get_traced_memory()[1] - before < 100_000 + 30 * len(encoded)
    finally:
        tracemalloc.stop()


def misfits(codec: Codec[Any], value: Any) -> list[Any]:
    """Values that are too long, too short or too large by one."""
    match codec:
        case _Opaque():
            return [value + b"\0", value[:-1], b""]
        case _UInt():
            return [1 << 8 * codec.min_size, -1]
        case _Vec(min_size=2):
            return [bytes(1 << 16)]
        case _Text():
            return ["x" * (1 << 16), "\ud800"]
        case _List():
            item = value[0] if value else some_value(codec._item)
            return [(item, misfit, item) for misfit in misfits(codec._item, item)]
        case _Optional():
            return misfits(codec._item, some_value(codec._item) if value is None else value)
        case StructCodec():
            return [
                value._replace(**{name: misfit})
                for name, field in codec._fields
                for misfit in misfits(field, getattr(value, name))
            ]
    return []


@every_struct
def test_no_encoder_pads_or_cuts(codec: StructCodec[Any]) -> None:
    wrong = misfits(codec, some_value(codec))
    assert wrong
    for value in wrong:
        with pytest.raises((DecodeError, OverflowError, struct.error)):
            codec.encode(value)


@every_struct
def test_json_members_are_exact(codec: StructCodec[Any]) -> None:
    shown = codec.to_json(some_value(codec))
    for name in shown:
        with pytest.raises(DecodeError, match="exactly these members"):
            codec.from_json({n: v for n, v in shown.items() if n != name})
    for wrong in (shown | {"extra": None}, shown | {"\ud800": 0}, {}, [], None, "x", 1, list(shown.items())):
        with pytest.raises(DecodeError):
            codec.from_json(wrong)
