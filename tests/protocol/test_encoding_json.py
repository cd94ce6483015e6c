"""The JSON face of the encoding: one text for each value, and none that a lax reader would let pass."""

from typing import Annotated, Any, NamedTuple

import pytest

from noise.protocol.encoding import Text, embedded, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.json_text import encode_json
from tests.vectors.make_encoding import (
    ACCEPTED,
    CODECS,
    POINT,
    REFUSED_JSON,
    SMALL_INTEGERS,
    Point,
    read_text,
)


class Letter(NamedTuple):
    title: Text
    text: Text


LETTER = struct_codec(Letter)


class Carrier(NamedTuple):
    letter: Annotated[bytes, embedded(LETTER)]


CARRIER = struct_codec(Carrier)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, value, _ in ACCEPTED])
def test_round_trip(name: str, value: Any) -> None:
    assert read_text(name, encode_json(CODECS[name].to_json(value)).decode()) == value


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("u8", 255, "255"),
        ("u32", 2**32 - 1, "4294967295"),
        ("u64", 0, '"0"'),
        ("u64", 2**53 + 1, '"9007199254740993"'),
        ("u64", 2**64 - 1, '"18446744073709551615"'),
        ("opaque[5]", b"\xfb\xff\xfe\x00\x00", '"-__-AAA"'),
        ("opaque[16]", bytes(16), '"AAAAAAAAAAAAAAAAAAAAAA"'),
        ("vec16", b"", '""'),
        ("vec16", b"\x00", '"AA"'),
        ("text", 'a"\n\x7f\u00f8\U0001f511', '"a\\"\\n\x7f\u00f8\U0001f511"'),
        ("list(opaque[32])", (bytes(32),), '["' + "A" * 43 + '"]'),
        ("list(u16)", (0, 65535), "[0,65535]"),
        ("Point", Point(1, 2), '{"x":1,"y":2}'),
        ("optional(Point)", None, "null"),
        ("optional(Point)", Point(1, 2), '{"x":1,"y":2}'),
        ("embedded16(Point)", b"", '{"bytes":""}'),
        ("embedded16(Point)", POINT.encode(Point(1, 2)), '{"bytes":"AAEAAAAC","value":{"x":1,"y":2}}'),
    ],
)
def test_texts_are_these(name: str, value: Any, text: str) -> None:
    assert encode_json(CODECS[name].to_json(value)) == text.encode()


@pytest.mark.parametrize(("name", "text"), REFUSED_JSON, ids=lambda text: ascii(text[:20]))
def test_refused(name: str, text: str) -> None:
    with pytest.raises(DecodeError) as refused:
        read_text(name, text)
    assert refused.value.code == "malformed"


@pytest.mark.parametrize("digits", ["9" * 4000, "9" * 5000, "-" + "9" * 5000, '"' + "9" * 5000 + '"'])
@pytest.mark.parametrize("name", [*SMALL_INTEGERS, "u64"])
def test_endless_integers_are_refused(name: str, digits: str) -> None:
    """Python refuses to convert more than 4300 digits, with a ValueError; fewer it does convert."""
    with pytest.raises(DecodeError):
        read_text(name, digits)


def test_lengths_have_the_limits_of_the_binary_face() -> None:
    for name, longest, longer in (("text", "x" * 65535, "x" * 65536), ("text", "\u00f8" * 32767, "\u00f8" * 32768)):
        assert read_text(name, f'"{longest}"') == longest
        with pytest.raises(DecodeError):
            read_text(name, f'"{longer}"')
    assert read_text("vec16", '"' + "A" * 87380 + '"') == bytes(65535)
    with pytest.raises(DecodeError):
        read_text("vec16", '"' + "A" * 87382 + '"')


def test_an_embedded_structure_may_be_told_either_way() -> None:
    codec = embedded(POINT)
    encoded = POINT.encode(Point(1, 2))
    for told in ({"bytes": "AAEAAAAC"}, {"value": {"x": 1, "y": 2}}):
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
    for name in SMALL_INTEGERS:
        with pytest.raises(DecodeError):
            CODECS[name].from_json(value)
