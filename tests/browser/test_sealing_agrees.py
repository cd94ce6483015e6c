"""Python opens what the browser's code seals, and the browser's code what Python seals: HPKE is two implementations."""

import json
import subprocess
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from noise.protocol.envelope import Recipients, RecipientSet
from noise.protocol.prekeys import check_agreement_key
from noise.protocol.sealing import (
    GOSSIP_BYTES_MAX,
    PAYLOAD_BODY_BYTES_MAX,
    PAYLOAD_DATA,
    PAYLOAD_GOSSIP,
    BoxFor,
    Payload,
    open_box,
    open_common,
    seal,
    seal_context,
)
from tests.javascript import ROOT, node
from tests.vectors.cast import ORIGIN, device_of, filler
from tests.vectors.golden import readable

SCRIPT = ROOT / "tests" / "browser" / "sealing_agrees.js"
TIMEOUT_S = 30
SENDER = device_of("alice")
NAMES = ["alice", *(f"device {number}" for number in range(20))]
KEYS = {device_of(name): X25519PrivateKey.generate() for name in NAMES}


def make_message(ctr: int, kind: int, body_bytes: int, gossip_bytes: list[int]) -> dict[str, Any]:
    """One to as many devices as there are sizes of gossip."""
    ids = [device_of(name) for name in NAMES[: len(gossip_bytes)]]
    boxes = [
        BoxFor(filler(f"prekey id {i.hex()}", 8), KEYS[i].public_key().public_bytes_raw(), filler("gossip", size))
        for i, size in zip(ids, gossip_bytes, strict=True)
    ]
    return {
        "origin": ORIGIN,
        "sender": SENDER,
        "ctr": ctr,
        "env_salt": filler(f"salt {ctr}", 16),
        "boxes": dict(sorted(zip(ids, boxes, strict=True))),
        "kind": kind,
        "body": filler("body", body_bytes),
        "content_key": filler(f"content key {ctr}", 16),
    }


MESSAGES = [
    make_message(0, PAYLOAD_DATA, 0, [0]),
    make_message(1, PAYLOAD_GOSSIP, 1, [0, 300]),
    make_message(2**64 - 1, PAYLOAD_DATA, 1000, [size * 7 for size in range(len(NAMES))]),
    make_message(2**53 + 1, PAYLOAD_DATA, PAYLOAD_BODY_BYTES_MAX, [GOSSIP_BYTES_MAX, 0]),
]


def recipients_of(message: dict[str, Any]) -> Recipients:
    return Recipients(RecipientSet(message["env_salt"], tuple(message["boxes"])))


def seal_one(message: dict[str, Any]) -> tuple[bytes, list[bytes]]:
    payload = Payload(message["kind"], message["body"])
    return seal(
        ORIGIN, SENDER, message["ctr"], recipients_of(message), payload, message["content_key"], message["boxes"]
    )


def as_json(message: dict[str, Any]) -> dict[str, Any]:
    boxes = {device_id.hex(): box for device_id, box in message["boxes"].items()}
    return dict(readable(message | {"ctr": str(message["ctr"]), "boxes": boxes}))


def test_both_ways() -> None:
    sealed = [(message, *seal_one(message)) for message in MESSAGES]
    to_open = [
        {
            "origin": ORIGIN,
            "sender": SENDER,
            "ctr": str(message["ctr"]),
            "root": recipients_of(message).root,
            "common": common,
            "device_id": device_id,
            "ciphertext": ciphertext,
            "private_key": KEYS[device_id].private_bytes_raw(),
        }
        for message, common, ciphertexts in sealed
        for device_id, ciphertext in zip(message["boxes"], ciphertexts, strict=True)
    ]
    sent = json.dumps({"messages": [as_json(message) for message in MESSAGES], "sealed": readable(to_open)})
    run = subprocess.run([node(), SCRIPT], input=sent, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)

    assert answer["opened"] == [
        readable({"kind": message["kind"], "body": message["body"], "gossip": box.gossip})
        for message in MESSAGES
        for box in message["boxes"].values()
    ]
    check_agreement_key(bytes.fromhex(answer["generated"]))
    for (message, own_common, own_ciphertexts), theirs in zip(sealed, answer["sealed"], strict=True):
        root = recipients_of(message).root
        assert theirs["root"] == root.hex()
        assert theirs["common"] == own_common.hex()  # nothing in it is drawn
        context = seal_context(ORIGIN, SENDER, message["ctr"], root)
        ciphertexts = [bytes.fromhex(ciphertext) for ciphertext in theirs["ciphertexts"]]
        assert [len(one) for one in ciphertexts] == [len(one) for one in own_ciphertexts]
        for (device_id, box), ciphertext in zip(message["boxes"].items(), ciphertexts, strict=True):
            opened = open_box(context, device_id, ciphertext, KEYS[device_id].private_bytes_raw())
            assert opened == (message["content_key"], box.gossip)
        payload = open_common(context, own_common, message["content_key"])
        assert payload == (message["kind"], message["body"])
