"""Frames: one byte of type and one structure, in two faces that say the same."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol import frames
from noise.protocol.delta import DELTA
from noise.protocol.errors import DecodeError
from noise.protocol.frames import (
    AUTH_PROOF,
    DELTA_PREFIX,
    FRAME_TYPES,
    START,
    BundleFrame,
    Cursor,
    DeltaFrame,
    Frame,
    PingFrame,
    RefusalFrame,
    encode_frame,
    encode_frame_json,
    parse_frame,
    parse_frame_json,
)
from noise.protocol.identifiers import NO_EPOCH
from noise.protocol.limits import FRAME_BYTES_MAX
from noise.protocol.signing import verify_strict
from tests.protocol.structures import damaged, damaged_json, values
from tests.vectors import golden
from tests.vectors.cast import ORIGIN, device_of, signer_of
from tests.vectors.epochs import story
from tests.vectors.make_frames import auth_proof, refused_frames, refused_texts
from tests.vectors.make_frames import frames as example_frames

EXAMPLES = example_frames()
any_frame = st.sampled_from(sorted(FRAME_TYPES)).flatmap(lambda name: values(frames._CODECS[FRAME_TYPES[name][1]]))
every_example = pytest.mark.parametrize("frame", EXAMPLES, ids=lambda frame: type(frame).__name__)


def test_there_is_an_example_of_each_type() -> None:
    assert {type(frame) for frame in EXAMPLES} == {cls for _, cls in FRAME_TYPES.values()} == set(frames._CODECS)
    assert sorted(number for number, _ in FRAME_TYPES.values()) == list(range(1, 10))


@given(any_frame)
@settings(max_examples=80)
def test_both_faces_round_trip(frame: Frame) -> None:
    encoded, text = encode_frame(frame), encode_frame_json(frame)
    assert parse_frame(encoded) == frame
    assert parse_frame_json(text) == frame
    assert type(parse_frame(encoded)) is type(frame) is type(parse_frame_json(text))
    assert encode_frame(parse_frame_json(text)) == encoded
    assert encode_frame_json(parse_frame(encoded)) == text


@every_example
def test_the_first_byte_and_the_type_name_the_frame(frame: Frame) -> None:
    name, number = next((name, number) for name, (number, cls) in FRAME_TYPES.items() if cls is type(frame))
    assert encode_frame(frame)[0] == number
    shown = json.loads(encode_frame_json(frame))
    assert shown.pop("type") == name
    assert tuple(shown) == frame._fields


@every_example
def test_damaged_bytes_are_refused_or_say_something_else(frame: Frame, search_factor: int) -> None:
    encoded, random = encode_frame(frame), Random(1)
    for _ in range(150 * search_factor):
        changed = damaged(encoded, random)
        try:
            other = parse_frame(changed)
        except DecodeError:
            continue
        assert encode_frame(other) == changed


@every_example
def test_damaged_texts_are_refused_or_say_something_else(frame: Frame, search_factor: int) -> None:
    text, random = encode_frame_json(frame), Random(1)
    for _ in range(100 * search_factor):
        characters = damaged(text.encode(), random).decode("utf-8", errors="replace")
        members = json.dumps(damaged_json(json.loads(text), random), ensure_ascii=random.random() < 0.5)
        for changed in (characters, members):
            try:
                other = parse_frame_json(changed)
            except DecodeError:
                continue
            assert parse_frame(encode_frame(other)) == other


@pytest.mark.parametrize(("why", "encoded"), refused_frames(), ids=[why for why, _ in refused_frames()])
def test_no_frame(why: str, encoded: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        parse_frame(encoded)
    assert refused.value.code == stored_code("refused", why)


@pytest.mark.parametrize(("why", "text"), refused_texts(), ids=[ascii(why) for why, _ in refused_texts()])
def test_no_text(why: str, text: str) -> None:
    with pytest.raises(DecodeError) as refused:
        parse_frame_json(text)
    assert refused.value.code == stored_code("refused_json", why)


def stored_code(part: str, why: str) -> str:
    cases: list[dict[str, Any]] = golden.read("frames.json")[part]
    return next(str(case["code"]) for case in cases if case["why"] == why)


@given(st.binary(max_size=60))
def test_parsing_bytes_is_total(data: bytes) -> None:
    for number in range(11):
        try:
            frame = parse_frame(bytes([number]) + data)
        except DecodeError:
            continue
        assert encode_frame(frame) == bytes([number]) + data


@given(st.text(st.characters(), max_size=40))
def test_parsing_texts_is_total(text: str) -> None:
    """Lone surrogates included: a text need not come from a WebSocket that has checked it."""
    for changed in (text, json.dumps({"type": "refusal", "request": 1, "code": text, "detail": text})):
        try:
            frame = parse_frame_json(changed)
        except DecodeError:
            continue
        assert isinstance(frame, RefusalFrame)
        assert frame.code == text


def test_lone_surrogates_are_refused() -> None:
    for text in ("\ud800", '{"type":"ping","token":"\udfff"}', '{"type":"\ud800"}'):
        with pytest.raises(DecodeError):
            parse_frame_json(text)


def test_frames_have_a_largest_size() -> None:
    """Checked before anything is read, in both faces."""
    for parse, data in (
        (parse_frame, bytes(FRAME_BYTES_MAX + 1)),
        (parse_frame_json, " " * (2 * FRAME_BYTES_MAX + 1)),
    ):
        with pytest.raises(DecodeError) as refused:
            parse(data)  # type: ignore[operator]
        assert refused.value.code == "frame-too-large"


def test_only_frames_that_may_come_are_read() -> None:
    """What is out of turn costs one byte, however much there is of it: lists of empty lists are dear to decode."""
    delta = DELTA_PREFIX + DELTA.encode(story().delta(device_of("bob"), 0, 0))
    garbage = DELTA_PREFIX + b"garbage"
    for parse, payloads in (
        (parse_frame, (delta, garbage)),
        (parse_frame_json, (encode_frame_json(parse_frame(delta)), '{"type":"delta","garbage":1}')),
    ):
        for payload in payloads:
            with pytest.raises(DecodeError) as refused:
                parse(payload, {PingFrame, BundleFrame})  # type: ignore[operator]
            assert refused.value.code == "out-of-turn"
    assert isinstance(parse_frame(delta, {DeltaFrame}), DeltaFrame)


def test_a_delta_frame_is_a_prefix_and_a_delta() -> None:
    """A server joins the parts of a delta itself: their order is that of the encoding."""
    delta = story().delta(device_of("bob"), 0, 0)
    assert encode_frame(DeltaFrame(delta)) == DELTA_PREFIX + DELTA.encode(delta) == b"\x03" + DELTA.encode(delta)


def test_embedded_bytes_stay_what_they_are() -> None:
    """A bundle is a bundle's bytes until it is opened, also when they are none; only its JSON face needs them right."""
    frame = BundleFrame(1, b"no bundle at all")
    assert parse_frame(encode_frame(frame)) == frame
    with pytest.raises(DecodeError):
        encode_frame_json(frame)
    assert parse_frame_json('{"type":"bundle","request":1,"bundle":{"bytes":"bm8"}}') == BundleFrame(1, b"no")


def test_what_a_device_signs_to_read() -> None:
    signed = auth_proof()
    proof = AUTH_PROOF.decode(signed.body)
    assert proof.device_id == device_of("bob")
    verify_strict(signer_of("bob").public_key, signed.signature, "auth", ORIGIN, signed.body)
    assert Cursor(0, 0, 0, 0, NO_EPOCH) == START
