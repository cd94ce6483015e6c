"""Makes the golden vectors of sealed messages: HPKE of the RFC, whole messages, and what no recipient opens.

Whoever seals draws a new ephemeral key for each box; here it is given, so that the bytes are always the same.
"""

from typing import Any

from noise.protocol.encoding import Codec
from noise.protocol.envelope import Recipients
from noise.protocol.sealing import (
    KEY_BOX,
    PAYLOAD_DATA,
    PAYLOAD_GOSSIP,
    BoxFor,
    KeyBox,
    Payload,
    _info,
    open_box,
    open_common,
    seal,
    seal_context,
    sealed_for,
)
from noise.protocol.signing import tag
from tests.protocol import naive_hpke
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, device_of, filler, recipients_of, seed_of
from tests.vectors.golden import readable, refusal_of, write

_KEY_BOX: Codec[KeyBox] = KEY_BOX
SENDER = device_of("alice")
FORM = {"common": "H(commit, key || context) || AES-128-GCM", "ciphertext": "prekey_id || enc || AES-128-GCM"}


def make_box(context: bytes, name: str, content_key: bytes, gossip: bytes, padding: int) -> dict[str, Any]:
    """One per-recipient ciphertext, and all that goes into it."""
    private_key, prekey_id = seed_of(f"prekey of {name}"), filler(f"prekey id of {name}", 8)
    info = _info(context, device_of(name), prekey_id)
    plain = _KEY_BOX.encode(KeyBox(content_key, gossip)) + bytes(padding)
    ephemeral = seed_of(f"ephemeral {name} {context.hex()}")
    sealed = naive_hpke.seal(plain, naive_hpke.public_of(private_key), info, ephemeral)
    return {
        "device_id": device_of(name),
        "prekey_id": prekey_id,
        "private_key": private_key,
        "public": naive_hpke.public_of(private_key),
        "gossip": gossip,
        "info": info,
        "plain": plain,
        "ephemeral": ephemeral,
        "ciphertext": prekey_id + sealed,
    }


def make_message(ctr: int, payload: Payload, gossip: dict[str, bytes]) -> dict[str, Any]:
    """A message of alice to those who get gossip, some of it empty. Opens as what it says."""
    recipients: Recipients = recipients_of(*gossip)
    context = seal_context(ORIGIN, SENDER, ctr, recipients.root)
    content_key = filler(f"content key {ctr}", 16)
    names = sorted(gossip, key=device_of)
    longest = max(map(len, gossip.values()))
    boxes = [make_box(context, name, content_key, gossip[name], longest - len(gossip[name])) for name in names]
    keys = {box["device_id"]: BoxFor(box["prekey_id"], box["public"], box["gossip"]) for box in boxes}
    common, ciphertexts = seal(ORIGIN, SENDER, ctr, recipients, payload, content_key, keys)
    for box, ciphertext in zip(boxes, ciphertexts, strict=True):
        for data in (ciphertext, box["ciphertext"]):
            opened = open_box(context, box["device_id"], data, box["private_key"])
            if opened != KeyBox(content_key, box["gossip"]) or len(data) != len(ciphertext):
                raise ValueError("a box that does not open as what it is")
    if open_common(context, common, content_key) != payload:
        raise ValueError("content that does not open as what it is")
    return {
        "origin": ORIGIN,
        "sender": SENDER,
        "sender_ctr": ctr,
        "recipients_root": recipients.root,
        "context": context,
        "content_key": content_key,
        "payload": {"kind": payload.kind, "body": payload.body},
        "common": common,
        "boxes": boxes,
    }


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def refused_boxes(message: dict[str, Any]) -> list[dict[str, Any]]:
    context, (one, other, *_) = message["context"], message["boxes"]
    good, key, device_id = one["ciphertext"], one["private_key"], one["device_id"]
    root, ctr = message["recipients_root"], message["sender_ctr"]

    def sealed(plain: bytes) -> bytes:
        return bytes(one["prekey_id"] + naive_hpke.seal(plain, one["public"], one["info"], one["ephemeral"]))

    cases = [
        ("another origin", seal_context(OTHER_ORIGIN, SENDER, ctr, root), device_id, good, key),
        ("another sender", seal_context(ORIGIN, device_of("bob"), ctr, root), device_id, good, key),
        ("another counter", seal_context(ORIGIN, SENDER, ctr + 1, root), device_id, good, key),
        ("other recipients", seal_context(ORIGIN, SENDER, ctr, bytes(32)), device_id, good, key),
        ("another recipient", context, other["device_id"], good, key),
        ("another prekey", context, device_id, good, other["private_key"]),
        ("another prekey id", context, device_id, other["prekey_id"] + good[8:], key),
        ("another ciphertext", context, device_id, flipped(good, 60), key),
        ("an encapsulation of small order", context, device_id, good[:8] + bytes(32) + good[40:], key),
        ("too short", context, device_id, good[:73], key),
        ("one byte more", context, device_id, good + b"\0", key),
        ("no key in it", context, device_id, sealed(bytes(17)), key),
        ("less gossip than it says", context, device_id, sealed(bytes(16) + b"\x00\x05" + bytes(4)), key),
        ("padded with other than zeros", context, device_id, sealed(bytes(18) + b"\x01"), key),
    ]
    return [
        {
            "reason": reason,
            "context": c,
            "device_id": d,
            "ciphertext": data,
            "private_key": k,
            "code": refusal_of(open_box, c, d, data, k),
        }
        for reason, c, d, data, k in cases
    ]


def refused_commons(message: dict[str, Any]) -> list[dict[str, Any]]:
    context, key, good = message["context"], message["content_key"], message["common"]
    other = seal_context(ORIGIN, SENDER, message["sender_ctr"] + 1, message["recipients_root"])
    cases = [
        ("another message", other, good, key),
        ("another key", context, good, flipped(key, 0)),
        ("another commitment", context, flipped(good, 0), key),
        ("another content", context, flipped(good, 40), key),
        ("too short", context, good[:48], key),
        ("one byte more", context, good + b"\0", key),
    ]
    return [
        {"reason": reason, "context": c, "common": data, "content_key": k, "code": refusal_of(open_common, c, data, k)}
        for reason, c, data, k in cases
    ]


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    messages = [
        make_message(7, Payload(PAYLOAD_DATA, b"to bob"), {"alice": b"", "bob": b""}),
        make_message(
            2**53 + 1, Payload(PAYLOAD_GOSSIP, b""), {"alice": b"", "bob": b"gossip", "carol": b"more gossip"}
        ),
        make_message(9, Payload(PAYLOAD_DATA, b""), {"alice": bytes(300)}),
    ]
    short = messages[0]["boxes"][0]["ciphertext"][:73]
    content = {
        "form": FORM,
        "rfc_9180_a_1_1": naive_hpke.A_1_1,
        "box_label": {"name": "seal/box", "tag": tag("seal/box")},
        "messages": messages,
        "refused_boxes": [*refused_boxes(messages[0]), *refused_boxes(messages[1])[:7]],
        "refused_commons": refused_commons(messages[0]),
        "refused_ids": [{"ciphertext": short, "code": refusal_of(sealed_for, short)}],
    }
    return {"sealing.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
