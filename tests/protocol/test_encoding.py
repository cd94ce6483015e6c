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
from tests.vectors.make_encoding import (
    ACCEPTED,
    CODECS,
    EVEN,
    POINT,
    REFUSED,
    SEALED,
    STAMPED,
    Even,
    Point,
    Sealed,
    member,
)


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


@pytest.mark.parametrize(("name", "value", "encoded"), ACCEPTED)
def test_bytes_are_these(name: str, value: Any, encoded: str) -> None:
    assert CODECS[name].encode(value).hex() == encoded
    assert CODECS[name].decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(("name", "encoded"), REFUSED)
def test_refused(name: str, encoded: str) -> None:
    with pytest.raises(DecodeError) as refused:
        CODECS[name].decode(bytes.fromhex(encoded))
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
