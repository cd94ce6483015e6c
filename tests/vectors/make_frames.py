"""Makes the golden vectors of frames: one of each type, in both faces, and what is none.

`json` is the very text that we send; readers accept any order of members and white space between them.
"""

import json
from typing import Any

from noise.protocol.frames import (
    ACK_BODY,
    AUTH_PROOF,
    FRAME_TYPES,
    PURPOSE_PUSH,
    START,
    AckBody,
    AckFrame,
    AuthFrame,
    AuthProof,
    BundleFrame,
    ChallengeFrame,
    Cursor,
    DeltaFrame,
    Frame,
    PingFrame,
    PongFrame,
    ReceiptFrame,
    RefusalFrame,
    SignedAuthProof,
    encode_frame,
    encode_frame_json,
    parse_frame,
    parse_frame_json,
)
from noise.protocol.signing import Signed
from tests.vectors.cast import CREATED_MS, ORIGIN, device_of, filler, seed_of, signer_of
from tests.vectors.epochs import story
from tests.vectors.golden import readable, refusal_of, write

NONCE = filler("nonce", 32)


def auth_proof() -> Signed:
    signer = signer_of("bob")
    proof = AuthProof(
        ORIGIN, device_of("bob"), signer.public_key, NONCE, "noise.example:443", PURPOSE_PUSH, CREATED_MS + 60_000
    )
    return signer.sign("auth", ORIGIN, AUTH_PROOF.encode(proof))


def ack() -> Signed:
    signer = signer_of("bob")
    return signer.sign("ack", ORIGIN, ACK_BODY.encode(AckBody(ORIGIN, device_of("bob"), signer.public_key, 2, 2)))


def frames() -> list[Frame]:
    """One of each type, and a few more."""
    provider = story()
    bob, proof = device_of("bob"), SignedAuthProof(*auth_proof())
    return [
        ChallengeFrame(ORIGIN, NONCE, 60_000, CREATED_MS),
        AuthFrame(proof, START),
        AuthFrame(proof, Cursor(3, 1, 2, 2, 2)),
        DeltaFrame(provider.delta(bob, 1, 1)),
        DeltaFrame(provider.delta(bob, 2, 2)),
        BundleFrame(7, provider.epochs[2].placed[0].bundle.encode()),
        ReceiptFrame(7, provider.receipt(2, 0)),
        RefusalFrame(2**32 - 1, "counter-conflict", 'counter 7 was used for "other content" \u2014 n\u00f8'),
        AckFrame(*ack()),
        PingFrame(filler("token", 16)),
        PongFrame(filler("token", 16)),
    ]


def refused_frames() -> list[tuple[str, bytes]]:
    ping, bundle = encode_frame(PingFrame(bytes(16))), encode_frame(BundleFrame(1, b"abc"))
    return [
        ("nothing", b""),
        ("type 0", b"\x00" + ping[1:]),
        ("type 10", b"\x0a" + ping[1:]),
        ("type 255", b"\xff" + ping[1:]),
        ("a type alone", ping[:1]),
        ("too short", ping[:-1]),
        ("too long", ping + b"\0"),
        ("twice", ping + ping),
        ("a length beyond the end", bundle[:-1]),
        ("a length of 2**32 - 1", bundle[:5] + b"\xff\xff\xff\xff" + bundle[9:]),
        ("of another type", b"\x01" + ping[1:]),
        ("text", encode_frame_json(PingFrame(bytes(16))).encode()),
    ]


def refused_texts() -> list[tuple[str, str]]:
    token = "A" * 22
    challenge = json.loads(encode_frame_json(ChallengeFrame(ORIGIN, NONCE, 60_000, CREATED_MS)))

    def changed(**members: Any) -> str:
        return json.dumps(challenge | members)

    return [
        *((text, text) for text in ("", " ", "null", "1", '"ping"', "[]", "{}", "[{}]", "{", "ping")),
        ("no type", f'{{"token":"{token}"}}'),
        ("a type that is none", f'{{"type":"pang","token":"{token}"}}'),
        ("a type in capitals", f'{{"type":"Ping","token":"{token}"}}'),
        ("a type by number", f'{{"type":8,"token":"{token}"}}'),
        ("a type that is null", f'{{"type":null,"token":"{token}"}}'),
        ("a type that is a list", f'{{"type":["ping"],"token":"{token}"}}'),
        ("two types", f'{{"type":"ping","type":"pong","token":"{token}"}}'),
        ("a member twice", f'{{"type":"ping","token":"{token}","token":"{token}"}}'),
        ("a member too many", f'{{"type":"ping","token":"{token}","x":0}}'),
        ("a member too few", '{"type":"ping"}'),
        ("padding", f'{{"type":"ping","token":"{token}=="}}'),
        ("loose bits", f'{{"type":"ping","token":"{token[:-1]}B"}}'),
        ("another alphabet", f'{{"type":"ping","token":"+/{token[2:]}"}}'),
        ("something behind", f'{{"type":"ping","token":"{token}"}} 1'),
        ("a byte order mark", f'\ufeff{{"type":"ping","token":"{token}"}}'),
        ("a u32 as text", changed(life_ms="60000")),
        ("a u32 as a fraction", changed(life_ms=60000.0)),
        ("a u32 below zero", changed(life_ms=-1)),
        ("a u32 too large", changed(life_ms=2**32)),
        ("a u32 that is true", changed(life_ms=True)),
        ("a u32 of minus zero", changed(life_ms=0).replace('"life_ms": 0', '"life_ms": -0')),
        ("a u64 as a number", changed(server_ms=1)),
        ("a u64 with a zero before", changed(server_ms="01")),
        ("a u64 too large", changed(server_ms=str(2**64))),
        ("not a number", changed(life_ms=float("nan"))),
        ("a lone surrogate", '{"type":"refusal","request":1,"code":"x","detail":"\\ud800"}'),
        ("an embedded structure that differs from its bytes", ack_text("hist_next", "3")),
        ("an embedded structure with too much", ack_text("extra", "3")),
        ("nested without end", '{"type":' + "[" * 5000),
    ]


def ack_text(member: str, value: str) -> str:
    shown = json.loads(encode_frame_json(AckFrame(*ack())))
    shown["body"]["value"][member] = value
    return json.dumps(shown)


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    content = {
        "seed": seed_of("bob"),
        "types": {name: number for name, (number, _) in FRAME_TYPES.items()},
        "frames": [
            {"type": type(frame).__name__, "encoded": encode_frame(frame), "json": encode_frame_json(frame)}
            for frame in frames()
        ],
        "refused": [
            {"why": why, "encoded": encoded, "code": refusal_of(parse_frame, encoded)}
            for why, encoded in refused_frames()
        ],
        "refused_json": [
            {"why": why, "json": text, "code": refusal_of(parse_frame_json, text)} for why, text in refused_texts()
        ],
    }
    return {"frames.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
