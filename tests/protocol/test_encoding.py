"""The primitives of the binary encoding, byte by byte, and what no decoder may accept."""

import struct
from typing import Annotated, Any, NamedTuple

import pytest

from noise.protocol.encoding import (
    HASHES,
    U8,
    U16,
    U32,
    U64,
    Bytes5,
    Bytes16,
    Codec,
    Hashes,
    Indexes,
    Text,
    Vec16,
    Vec32,
    embedded,
    list_of,
    optional,
    struct_codec,
)
from noise.protocol.errors import DecodeError


class Point(NamedTuple):
    x: U16
    y: U32


POINT = struct_codec(Point)


class Stamped(NamedTuple):
    seal: Bytes5
    point: Annotated[Point, POINT]


STAMPED = struct_codec(Stamped, record_type=0x0102)


def _check_even(pair: "Even") -> None:
    if pair.n % 2:
        raise DecodeError("odd")


class Even(NamedTuple):
    n: U8


EVEN = struct_codec(Even, check=_check_even)


class Sealed(NamedTuple):
    n: U8
    seal: Bytes5


SEALED = struct_codec(Sealed)


class Everything(NamedTuple):
    a: U8
    b: U16
    c: U32
    d: U64
    seal: Bytes5
    short: Vec16
    long: Vec32
    text: Text
    hashes: Hashes
    indexes: Indexes
    points: Annotated[tuple[Point, ...], list_of(POINT)]
    evens: Annotated[tuple[Even, ...], list_of(EVEN)]
    sealed: Annotated[tuple[Sealed, ...], list_of(SEALED)]
    lists: Annotated[tuple[tuple[Point, ...], ...], list_of(list_of(POINT))]
    maybe: Annotated[Point | None, optional(POINT)]
    inner: Annotated[bytes, embedded(POINT)]


EVERYTHING = struct_codec(Everything)


def member(annotation: Any) -> Codec[Any]:
    return next(part for part in annotation.__metadata__ if isinstance(part, Codec))


@pytest.mark.parametrize(
    ("codec", "value", "encoded"),
    [
        (member(U8), 255, "ff"),
        (member(U16), 1, "0001"),
        (member(U32), 0x01020304, "01020304"),
        (member(U64), 0, "0000000000000000"),
        (member(U64), 2**64 - 1, "ffffffffffffffff"),
        (member(U64), 2**53 + 1, "0020000000000001"),
        (member(Bytes5), b"abcde", "6162636465"),
        (member(Vec16), b"", "0000"),
        (member(Vec16), b"ab", "00026162"),
        (member(Vec32), b"ab", "000000026162"),
        (member(Text), "", "0000"),
        (member(Text), "n\u00f8ise\x00", "00076ec3b8697365" + "00"),
        (member(Text), "\U0001f511", "0004f09f9491"),
        (HASHES, (), "00000000"),
        (HASHES, (b"\x11" * 32,), "00000001" + "11" * 32),
        (member(Indexes), (0, 65535), "000000020000ffff"),
        (POINT, Point(1, 2), "000100000002"),
        (STAMPED, Stamped(b"abcde", Point(1, 2)), "01026162636465000100000002"),
        (EVEN, Even(4), "04"),
        (list_of(POINT), (Point(1, 2), Point(3, 4)), "00000002" + "000100000002" + "000300000004"),
        (list_of(STAMPED), (Stamped(b"abcde", Point(1, 2)),), "0000000101026162636465000100000002"),
        (list_of(EVEN), (Even(2), Even(4)), "000000020204"),
        (list_of(SEALED), (Sealed(1, b"abcde"),), "00000001016162636465"),
        (optional(POINT), None, "00"),
        (optional(POINT), Point(1, 2), "01000100000002"),
        (embedded(POINT), b"", "0000"),
        (embedded(POINT), POINT.encode(Point(1, 2)), "0006000100000002"),
        (embedded(POINT, 4), POINT.encode(Point(1, 2)), "00000006000100000002"),
    ],
)
def test_bytes_are_these(codec: Codec[Any], value: Any, encoded: str) -> None:
    assert codec.encode(value).hex() == encoded
    assert codec.decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    ("codec", "encoded"),
    [
        (member(U8), ""),
        (member(U8), "0000"),
        (member(U64), "00" * 7),
        (member(Bytes5), "00" * 4),
        (member(Bytes5), "00" * 6),
        (member(Vec16), "00"),
        (member(Vec16), "0001"),
        (member(Vec16), "000000"),
        (member(Vec32), "ffffffff"),
        (member(Text), "0001ff"),
        (member(Text), "0002c080"),  # an overlong NUL
        (member(Text), "0003eda080"),  # a surrogate
        (member(Text), "0002f09f"),  # half a character
        (HASHES, "00000001" + "11" * 31),
        (HASHES, "00000000" + "11" * 32),
        (HASHES, "ffffffff" + "11" * 32),
        (HASHES, "08000000"),  # times 32 is zero in 32 bits
        (member(Indexes), "80000001" + "0000"),  # times two is two in 32 bits
        (STAMPED, "01036162636465000100000002"),
        (STAMPED, "02016162636465000100000002"),
        (STAMPED, "6162636465000100000002"),
        (EVEN, "03"),
        (list_of(EVEN), "000000020203"),
        (optional(POINT), ""),
        (optional(POINT), "02"),
        (optional(POINT), "ff000100000002"),
        (optional(POINT), "01"),
        (optional(POINT), "00000100000002"),
        (embedded(POINT), "0005000100000002"),
        (embedded(POINT), "0007000100000002"),
    ],
)
def test_refused(codec: Codec[Any], encoded: str) -> None:
    with pytest.raises(DecodeError) as refused:
        codec.decode(bytes.fromhex(encoded))
    assert refused.value.code == "malformed"


def test_an_embedded_structure_is_kept_verbatim_even_if_it_is_none() -> None:
    """What it says is for whoever verifies its signature to judge; the bytes must survive until then."""
    codec = embedded(POINT)
    assert codec.decode(b"\x00\x03abc") == b"abc"
    assert codec.encode(b"abc") == b"\x00\x03abc"
    with pytest.raises(DecodeError):
        codec.to_json(b"abc")


def test_vectors_may_fill_their_length() -> None:
    for codec, size in ((member(Vec16), 65535), (embedded(POINT), 65535), (member(Vec32), 65536)):
        assert codec.decode(codec.encode(bytes(size))) == bytes(size)
    assert member(Text).decode(member(Text).encode("x" * 65535)) == "x" * 65535
    for codec in (member(Vec16), embedded(POINT)):
        with pytest.raises(DecodeError):
            codec.encode(bytes(65536))
    with pytest.raises(DecodeError):
        member(Text).encode("\u00f8" * 32768)


def test_a_structure_of_all_there_is() -> None:
    value = Everything(
        *(1, 2, 3, 4, b"abcde", b"s", b"l", "t", (bytes(32), b"\1" * 32), (7, 3, 7)),
        (Point(1, 2),),
        (Even(2), Even(0)),
        (Sealed(9, b"fghij"),),
        ((), (Point(3, 4), Point(5, 6))),
        Point(7, 8),
        POINT.encode(Point(9, 10)),
    )
    encoded = EVERYTHING.encode(value)
    assert EVERYTHING.decode(encoded) == value
    assert EVERYTHING.from_json(EVERYTHING.to_json(value)) == value
    bare = value._replace(hashes=(), indexes=(), points=(), evens=(), sealed=(), lists=(), maybe=None, inner=b"")
    assert EVERYTHING.min_size == len(EVERYTHING.encode(bare._replace(short=b"", long=b"", text="")))


def test_pack_is_for_flat_structures_only() -> None:
    assert POINT.pack(1, 2) == POINT.encode(Point(1, 2))
    assert EVEN.pack(2) == b"\2"
    for codec in (STAMPED, EVERYTHING):
        with pytest.raises(TypeError, match="not flat"):
            codec.pack(b"abcde", Point(1, 2))


def test_lists_of_rows_neither_pad_nor_cut() -> None:
    """`struct` pads and cuts bytes without a word: rows with opaque fields must not take its short cut."""
    for seal in (b"abcd", b"abcdef", b""):
        with pytest.raises(DecodeError):
            list_of(SEALED).encode((Sealed(1, seal),))
    for point in (Point(1 << 16, 0), Point(0, -1), Point(0, 1 << 32)):
        with pytest.raises(struct.error):
            list_of(POINT).encode((point,))
    with pytest.raises(struct.error):
        list_of(POINT).encode(((1, 2, 3),))


def test_nesting_is_counted_by_its_smallest_item() -> None:
    """A list of lists: each takes four bytes at least, so four bytes cannot hold two."""
    nested = list_of(HASHES)
    assert nested.decode(bytes.fromhex("00000002" + "00000000" * 2)) == ((), ())
    with pytest.raises(DecodeError, match="longer than its bytes"):
        nested.decode(bytes.fromhex("00000002" + "00000000"))


def test_record_types_prefix_a_fixed_layout_as_well() -> None:
    class Flat(NamedTuple):
        n: U32
        seal: Bytes16

    flat = struct_codec(Flat, record_type=7)
    value = Flat(1, b"0123456789abcdef")
    assert flat.encode(value) == flat.pack(*value) == b"\x00\x07\x00\x00\x00\x01" + value.seal
    assert flat.decode(flat.encode(value)) == value
    assert list_of(flat).decode(list_of(flat).encode((value, value))) == (value, value)
    for wrong in (b"\x00\x08", b"\x07\x00"):
        with pytest.raises(DecodeError, match="another record type"):
            flat.decode(wrong + flat.encode(value)[2:])
