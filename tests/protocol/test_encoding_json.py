"""The JSON face of the encoding: one text for each value, and none that a lax reader would let pass."""

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
    Indexes,
    Text,
    Vec16,
    embedded,
    list_of,
    optional,
    struct_codec,
)
from noise.protocol.errors import DecodeError
from noise.protocol.json_text import encode_json, parse_json


class Point(NamedTuple):
    x: U16
    y: U64


POINT = struct_codec(Point)


class Letter(NamedTuple):
    title: Text
    text: Text


LETTER = struct_codec(Letter)


class Carrier(NamedTuple):
    letter: Annotated[bytes, embedded(LETTER)]


CARRIER = struct_codec(Carrier)


def member(annotation: Any) -> Codec[Any]:
    return next(part for part in annotation.__metadata__ if isinstance(part, Codec))


@pytest.mark.parametrize(
    ("codec", "value", "text"),
    [
        (member(U8), 255, "255"),
        (member(U16), 0, "0"),
        (member(U32), 2**32 - 1, "4294967295"),
        (member(U64), 0, '"0"'),
        (member(U64), 2**53 + 1, '"9007199254740993"'),
        (member(U64), 2**64 - 1, '"18446744073709551615"'),
        (member(Bytes5), b"\xfb\xff\xfe\x00\x00", '"-__-AAA"'),
        (member(Bytes16), bytes(16), '"AAAAAAAAAAAAAAAAAAAAAA"'),
        (member(Vec16), b"", '""'),
        (member(Vec16), b"\x00", '"AA"'),
        (member(Text), 'a"\n\x7f\u00f8\U0001f511', '"a\\"\\n\x7f\u00f8\U0001f511"'),
        (HASHES, (bytes(32),), '["' + "A" * 43 + '"]'),
        (member(Indexes), (0, 65535), "[0,65535]"),
        (POINT, Point(1, 2), '{"x":1,"y":"2"}'),
        (optional(POINT), None, "null"),
        (optional(POINT), Point(1, 2), '{"x":1,"y":"2"}'),
        (embedded(POINT), b"", '{"bytes":""}'),
        (embedded(POINT), POINT.encode(Point(1, 2)), '{"bytes":"AAEAAAAAAAAAAg","value":{"x":1,"y":"2"}}'),
    ],
)
def test_texts_are_these(codec: Codec[Any], value: Any, text: str) -> None:
    assert encode_json(codec.to_json(value)) == text.encode()
    assert codec.from_json(parse_json(text.encode())) == value


SMALL = [member(U8), member(U16), member(U32)]
NO_SMALL = [
    *("-1", "-0", "256.0", "1e2", "1E0", "0.0", "01", "+1", "1_0", "0x1", "NaN", "Infinity", "-Infinity", "", " "),
    *("true", "false", "null", "[]", "{}", "[1]", '"1"', '""', "4294967296", "9" * 4000, "9" * 5000, "-" + "9" * 5000),
    *("\uff11", "\u0661"),
]
NO_BIG = ["1", "0", "-1", "1.0", "true", "null", "[]", "{}", "18446744073709551616"]
NO_BIG += [
    f'"{text}"'
    for text in (
        *("", " ", "-1", "-0", "+1", "00", "01", "1_0", "1 ", " 1", "1.0", "1e2", "0x1", "1\\n", "\\n1", "\\u0000"),
        *("\uff11", "\u0661", "\u00b2", "\u2460", "1\u200b", "\\ud800", "NaN", "18446744073709551616"),
        *("99999999999999999999", "100000000000000000000", "9" * 5000, "0" * 30),
    )
]
NO_BYTES_5 = ["null", "true", "5", "[]", "{}", "[0,0,0,0,0]"] + [
    f'"{text}"'
    for text in (
        *("", "AAAAAA", "AAAAAAAA", "AAAAAAA=", "AAAAAA==", "AAAAAA\\n", "AAA AAAA", " AAAAAAA", "AAAAAAA\\n"),
        *("AAAAAAB", "AAAAAA+", "AAAAAA/", "AAAAAA.", "AAAAAA\u00c0", "AAAAAA\\u0000", "\uff21AAAAAA", "AAAAAA\\ud800"),
    )
]


@pytest.mark.parametrize("text", NO_SMALL, ids=lambda text: ascii(text[:12]))
@pytest.mark.parametrize("codec", SMALL, ids=["u8", "u16", "u32"])
def test_no_small_integer(codec: Codec[int], text: str) -> None:
    refuse(codec, text)


@pytest.mark.parametrize("text", NO_BIG, ids=lambda text: ascii(text[:12]))
def test_no_u64(text: str) -> None:
    refuse(member(U64), text)


@pytest.mark.parametrize("text", NO_BYTES_5, ids=ascii)
def test_no_bytes(text: str) -> None:
    refuse(member(Bytes5), text)


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        (member(U8), "256"),
        (member(U16), "65536"),
        (member(Text), '"\\ud800"'),
        (member(Text), '"\\udc00\\ud800"'),
        (member(Text), "0"),
        (member(Text), "null"),
        (member(Text), '"' + "x" * 65536 + '"'),
        (member(Text), '"' + "\u00f8" * 32768 + '"'),
        (member(Vec16), '"' + "A" * 87382 + '"'),
        (HASHES, '"' + "A" * 43 + '"'),
        (HASHES, '["' + "A" * 42 + '"]'),
        (HASHES, '{"0":"' + "A" * 43 + '"}'),
        (HASHES, "null"),
        (list_of(POINT), '{"x":1,"y":"2"}'),
        (POINT, '[1,"2"]'),
        (POINT, '{"x":1}'),
        (POINT, '{"x":1,"y":"2","z":0}'),
        (POINT, '{"x":1,"Y":"2"}'),
        (POINT, '{"x":1,"x":1,"y":"2"}'),
        (POINT, '{"x":1,"\\u0078":1,"y":"2"}'),
        (POINT, '{"x":"1","y":"2"}'),
        (POINT, '{"x":1,"y":2}'),
        (POINT, "null"),
        (optional(POINT), "0"),
        (optional(POINT), "{}"),
        (optional(POINT), "false"),
        (embedded(POINT), "{}"),
        (embedded(POINT), "null"),
        (embedded(POINT), '"AAEAAAAAAAAAAg"'),
        (embedded(POINT), '{"bytes":null}'),
        (embedded(POINT), '{"value":null}'),
        (embedded(POINT), '{"bytes":"AAEAAAAAAAAAAg","value":null}'),
        (embedded(POINT), '{"bytes":"AAEAAAAAAAAAAw","value":{"x":1,"y":"2"}}'),
        (embedded(POINT), '{"bytes":"","value":{"x":1,"y":"2"}}'),
        (embedded(POINT), '{"bytes":"AAEAAAAAAAAAAg","values":{"x":1,"y":"2"}}'),
    ],
)
def test_refused(codec: Codec[Any], text: str) -> None:
    refuse(codec, text)


def refuse(codec: Codec[Any], text: str) -> None:
    with pytest.raises(DecodeError) as refused:
        codec.from_json(parse_json(text.encode()))
    assert refused.value.code == "malformed"


def test_an_embedded_structure_may_be_told_either_way() -> None:
    codec = embedded(POINT)
    encoded = POINT.encode(Point(1, 2))
    for told in ({"bytes": "AAEAAAAAAAAAAg"}, {"value": {"x": 1, "y": "2"}}):
        assert codec.from_json(told) == encoded


def test_an_embedded_structure_told_by_value_has_the_same_limit() -> None:
    """Each text fits, the two together do not fit behind a u16: no value may come in that cannot go out again."""
    half = "x" * 40_000
    assert CARRIER.from_json({"letter": {"value": {"title": half, "text": ""}}}).letter
    with pytest.raises(DecodeError, match="too long"):
        CARRIER.from_json({"letter": {"value": {"title": half, "text": half}}})


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, b"1"])
def test_python_values_that_equal_integers_are_none(value: Any) -> None:
    """`True == 1 == 1.0`, and a JSON reader hands over all three."""
    for codec in SMALL:
        with pytest.raises(DecodeError):
            codec.from_json(value)
