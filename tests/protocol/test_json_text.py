"""The texts of the readable faces: exact inverses for what is right, DecodeError for everything else."""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from noise.protocol.errors import DecodeError
from noise.protocol.json_text import base64url, encode_json, parse_base64url, parse_decimal, parse_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=80))
def test_base64url_round_trip(data: bytes) -> None:
    text = base64url(data)
    assert parse_base64url(text) == data
    assert not set(text) & set("+/= \n")


@given(st.text(alphabet="ABgw019-_=+/ \n\u00e9\uff21", max_size=9) | st.text(max_size=9))
@example("AB")  # the last four bits must be zero
@example("AAB")  # the last two
@example("A")
def test_base64url_has_one_text_for_each_value(text: str) -> None:
    try:
        data = parse_base64url(text)
    except DecodeError:
        return
    assert base64url(data) == text


@given(st.integers(0, 10**20 - 1))
def test_decimal_round_trip(number: int) -> None:
    assert parse_decimal(str(number)) == number


@given(st.text(alphabet="0189-+_ .e\n\uff11\u0663", max_size=22) | st.text(max_size=5))
@example("0")
@example("00")
@example("0" * 21)
@example("1" * 21)
def test_decimal_has_one_text_for_each_value(text: str) -> None:
    try:
        number = parse_decimal(text)
    except DecodeError:
        return
    assert str(number) == text


@pytest.mark.parametrize("value", [None, 0, 1.5, True, b"0", ["0"], {"0": 0}])
def test_only_texts_are_read(value: object) -> None:
    for parse in (parse_decimal, parse_base64url):
        with pytest.raises(DecodeError):
            parse(value)  # type: ignore[operator]


@given(JSON)
def test_json_round_trip(value: object) -> None:
    assert parse_json(encode_json(value)) == value


@given(st.binary(max_size=30) | JSON.map(json.dumps).map(str.encode))
def test_json_is_total(data: bytes) -> None:
    with suppress(DecodeError):
        parse_json(data)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "nul", "None", "undefined", "'x'", '"x', "[1,]", '{"a":1,}', "[1 2]", "{1:2}", "1 1", "\x00"),
        *("1.0", "0.0", "-0.0", "1e2", "1E2", "1e400", "-0", "[-0]", "01", "-01", "+1", "1_0", ".5", "0x10"),
        *("NaN", "nan", "Infinity", "-Infinity", "[NaN]"),
        *('{"a":1,"a":1}', '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '[{"b":{"a":[],"a":[]}}]'),
        *('"\t"', '"\n"', '"\x00"', '"\\x41"', '"\\ud80"', "/* */ 1", "1 // one"),
        *("\ufeff1", "\uff11", "\u0661", "\u00a01", "9" * 5000, "-" + "9" * 5000, "[" + "9" * 5000 + "]"),
        *("[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000),
    ],
    ids=lambda text: ascii(text[:14]),
)
def test_no_json(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_json(text.encode())


@pytest.mark.parametrize(
    "data",
    [
        b'"\xff"',
        b'"\xc0\x80"',  # an overlong NUL
        b'"\xed\xa0\x80"',  # a surrogate
        b'"\xf4\x90\x80\x80"',  # beyond Unicode
        b"\xff\xfe1\x00",
        '"x"'.encode("utf-16"),
        '"x"'.encode("utf-16-be"),
        '"x"'.encode("utf-32-le"),
    ],
)
def test_json_is_utf8_only(data: bytes) -> None:
    """`json.loads` guesses at UTF-16 and UTF-32 when it is given bytes."""
    with pytest.raises(DecodeError):
        parse_json(data)


def test_integers_are_exact() -> None:
    for number in (0, -1, 2**53 + 1, 2**64 - 1, 10**4000):
        assert parse_json(str(number).encode()) == number


def test_encoded_json_is_compact() -> None:
    assert encode_json({"a": [1, "\u00f8", None]}) == '{"a":[1,"\u00f8",null]}'.encode()
