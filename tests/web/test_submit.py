"""Sending bundles: what is accepted gets its receipt, what is refused says why and leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from noise.pipeline import reissue
from noise.protocol.encoding import Codec
from noise.protocol.envelope import (
    BUNDLE_WIRE,
    Bundle,
    BundleWire,
    Draft,
    EnvelopeRow,
    RecipientSet,
)
from noise.protocol.frames import RECEIPT, Receipt
from noise.protocol.identifiers import device_id_of
from noise.protocol.json_text import base64url, encode_json
from noise.protocol.limits import BUNDLE_BYTES_MAX, BUNDLE_MESSAGES_MAX, CIPHERTEXT_BYTES_MAX, MESSAGE_BYTES_MAX
from noise.protocol.signing import Signer
from noise.web import submit
from noise.web.bodies import JSON_FACTOR
from tests.provider import Device, recipients_of
from tests.web.face import JSON, OCTETS, Face, Reader, open_face, problem_code, request_bytes
from tests.web.live_http import read_answer, reset

_WIRE: Codec[BundleWire] = BUNDLE_WIRE
_RECEIPT: Codec[Receipt] = RECEIPT


async def refusal(face: Face, body: bytes, **headers: str) -> str:
    return await face.code("POST", "/v1/bundles", body, **({"Content_Type": OCTETS} | headers))


async def count_stored(face: Face) -> int:
    """How many bundles were ever accepted."""
    return len(await face.provider.gateway.store.bundles_since(0))


async def test_receipts_verify(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path, inboxes=2) as face:
            alice, bob = Device("alice"), Device("bob")
            reader = Reader(face, bob)
            await reader.read_all(await face.log_in(bob))
            bundles = [device.write(face.origin, [b"1", b"2", b"3"], [bob]) for device in (alice, bob, alice, bob)]
            seqs = [reader.follower.check_receipt(await face.send(bundle), bundle) for bundle in bundles]
            assert len({seq for places in seqs for seq in places}) == 12


async def test_json_and_octets_carry_the_same_bundle_and_receipt(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            alice = Device("alice")
            data = alice.write(face.origin, ["ümläute".encode(), bytes(range(256))]).encode()
            readable = encode_json(_WIRE.to_json(_WIRE.decode(data)))
            asked = [
                await face.ask("POST", "/v1/bundles", body, Content_Type=came, **({"Accept": wanted} if wanted else {}))
                for body, came in ((data, OCTETS), (readable, JSON), (readable, JSON + "; charset=utf-8"))
                for wanted in ("", "*/*", OCTETS, JSON, f"text/html, {OCTETS};q=0.1, {JSON};q=0.2")
            ]
            assert [answer.status for answer in asked] == [201] * 15
            types = [answer.headers[b"content-type"].decode() for answer in asked]
            assert types == [OCTETS, OCTETS, OCTETS, JSON, JSON, *[JSON, JSON, OCTETS, JSON, JSON] * 2]
            receipts = [
                _RECEIPT.decode(answer.body) if kind == OCTETS else _RECEIPT.from_json(json.loads(answer.body))
                for answer, kind in zip(asked, types, strict=True)
            ]
            assert len(set(receipts)) == 1
            assert await count_stored(face) == 1


async def test_same_bytes_get_the_same_receipt_at_once_later_and_after_a_restart(tmp_path: Path) -> None:
    with trio.fail_after(20):
        alice = Device("alice")
        receipts: list[Receipt] = []
        async with open_face(tmp_path) as face:
            bundle = alice.write(face.origin, [b"x"])

            async def send() -> None:
                receipts.append(await face.send(bundle))

            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(send)
            await face.send(alice.write(face.origin, [b"y"]))
            await send()
        async with open_face(tmp_path) as face:
            receipts.append(await face.send(bundle))
            assert len(receipts) == 10
            assert len(set(receipts)) == 1
            assert await count_stored(face) == 2


def altered(bundle: Bundle, **changes: Any) -> bytes:
    """The encoding of a bundle after some of its parts were changed, without signing anew."""
    return _WIRE.encode(_WIRE.decode(bundle.encode())._replace(**changes))


def unchecked(signer: Signer, origin: bytes, *sets: RecipientSet, common: bytes = b"x", rows: int = 1) -> bytes:
    """A bundle that `build_bundle` would refuse to make, with a signature that nobody will get to look at."""
    row = EnvelopeRow(0, 5, len(common), 0)
    all_rows = tuple(row._replace(set_index=min(n, len(sets) - 1)) for n in range(rows))
    return _WIRE.encode(BundleWire(origin, signer.public_key, 1, bytes(64), sets, all_rows, common * rows, b""))


Make = Callable[[Device, bytes], bytes]
MEMBERS = tuple(sorted(n.to_bytes(32, "big") for n in range(1_025)))
REFUSALS: dict[str, tuple[str, Make]] = {
    "nothing": ("malformed", lambda alice, origin: b""),
    "no key": ("malformed", lambda alice, origin: bytes(63)),
    "cut": ("malformed", lambda alice, origin: alice.write(origin, [b"x"]).encode()[:-1]),
    "longer": ("malformed", lambda alice, origin: alice.write(origin, [b"x"]).encode() + b"\0"),
    "common too short": ("malformed", lambda alice, origin: altered(alice.write(origin, [b"x"]), commons=b"")),
    "another origin": ("wrong-origin", lambda alice, origin: alice.write(bytes(32), [b"x"]).encode()),
    "another signature": ("bad-signature", lambda alice, origin: altered(alice.write(origin, [b"x"]), first_ctr=7)),
    "another text": ("bad-signature", lambda alice, origin: altered(alice.write(origin, [b"x"]), commons=b"y")),
    "weak key": ("bad-key", lambda alice, origin: weak_key_bundle(origin)),
    "no rows": ("bundle-count", lambda alice, origin: unchecked(alice.signer, origin, rows=0)),
    "rows": (
        "bundle-count",
        lambda alice, origin: unchecked(alice.signer, origin, recipients(alice), rows=BUNDLE_MESSAGES_MAX + 1),
    ),
    "last counter": (
        "counter-overflow",
        lambda alice, origin: altered(alice.write(origin, [b"x"]), first_ctr=2**64 - 1),
    ),
    "text": (
        "message-too-large",
        lambda alice, origin: unchecked(alice.signer, origin, recipients(alice), common=bytes(MESSAGE_BYTES_MAX + 1)),
    ),
    "ciphertext": (
        "ciphertext-too-large",
        lambda alice, origin: altered(
            alice.write(origin, [b"x"]), rows=(EnvelopeRow(0, 5, 1, CIPHERTEXT_BYTES_MAX + 1),)
        ),
    ),
    "nobody": ("no-recipients", lambda alice, origin: unchecked(alice.signer, origin, RecipientSet(bytes(16), ()))),
    "crowd": (
        "too-many-recipients",
        lambda alice, origin: unchecked(alice.signer, origin, RecipientSet(bytes(16), MEMBERS)),
    ),
    "disorder": (
        "unsorted-recipients",
        lambda alice, origin: unchecked(alice.signer, origin, RecipientSet(bytes(16), MEMBERS[:2][::-1])),
    ),
    "twice": (
        "duplicate-recipients",
        lambda alice, origin: unchecked(alice.signer, origin, RecipientSet(bytes(16), MEMBERS[:1] * 2)),
    ),
    "others only": (
        "sender-not-recipient",
        lambda alice, origin: unchecked(alice.signer, origin, RecipientSet(bytes(16), MEMBERS[:1])),
    ),
    "one list twice": (
        "malformed",
        lambda alice, origin: unchecked(alice.signer, origin, recipients(alice), recipients(alice), rows=2),
    ),
    "too large": ("body-too-large", lambda alice, origin: bytes(BUNDLE_BYTES_MAX + 1)),
}


def recipients(device: Device) -> RecipientSet:
    return RecipientSet(bytes(16), (device.device_id,))


def weak_key_bundle(origin: bytes) -> bytes:
    """From a key of small order, for which one constant signature verifies far too much."""
    weak = bytes(32)
    alice = Device("alice")
    alice.signer.public_key = weak
    alice.device_id = device_id_of(weak)
    return alice.write(origin, [b"x"]).encode()


async def test_every_refusal_has_its_code_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with open_face(tmp_path) as face:
            codes = {
                name: await refusal(face, make(Device("alice"), face.origin)) for name, (_, make) in REFUSALS.items()
            }
            assert codes == {name: code for name, (code, _) in REFUSALS.items()}
            assert await count_stored(face) == 0
            await face.send(Device("alice").write(face.origin, [b"x"]))


async def test_counters_are_used_once(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with open_face(tmp_path) as face:
            first = Device("alice", next_ctr=10).write(face.origin, [b"a", b"b"])
            receipt = await face.send(first)
            for next_ctr, texts in ((10, [b"other", b"b"]), (10, [b"a"]), (11, [b"b"]), (9, [b"x"]), (9, [b"x", b"a"])):
                other = Device("alice", next_ctr).write(face.origin, texts)
                assert await refusal(face, other.encode()) == "counter-conflict"
            assert await face.send(first) == receipt
            assert await count_stored(face) == 1


async def test_receipts_are_looked_up_for_a_while_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reissue, "STEPS_MAX", 8)
    with trio.fail_after(20):
        async with open_face(tmp_path) as face:
            alice = Device("alice")
            oldest = alice.write(face.origin, [b"x"])
            receipt = await face.send(oldest)
            for _ in range(7):
                await face.provider.submit(alice.write(face.origin, [b"x"]))
            assert await face.send(oldest) == receipt
            await face.send(alice.write(face.origin, [b"x"]))
            assert await refusal(face, oldest.encode()) == "counter-too-old"


async def test_refused_media_types(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            data = Device("alice").write(face.origin, [b"x"]).encode()
            for came in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"):
                assert await refusal(face, data, Content_Type=came) == "unsupported-media-type", came
            assert await face.code("POST", "/v1/bundles", data) == "unsupported-media-type"
            assert await refusal(face, data, Content_Encoding="gzip") == "unsupported-media-type"
            for wanted in ("text/html", "image/*", f"{OCTETS};q=0, {JSON};q=0"):
                assert await refusal(face, data, Accept=wanted) == "not-acceptable"  # and not accepted, either
            assert await face.code("POST", "/v1/bundles?dry_run=1", data, Content_Type=OCTETS) == "bad-query"
            assert await count_stored(face) == 0


async def test_bad_json_is_malformed(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            good = _WIRE.to_json(_WIRE.decode(Device("alice").write(face.origin, [b"x"]).encode()))
            texts = [b"", b"{", b"null", b"\xff", b"[" * 100_000, b'{"origin":1,"origin":1}', b"1" * 10_000]
            texts += [encode_json({**good, "extra": 1}), encode_json({**good, "first_ctr": 1})]
            texts += [encode_json({name: value for name, value in good.items() if name != "key"})]
            texts += [encode_json({**good, "signature": good["signature"] + "="}), encode_json({**good, "sets": [{}]})]
            for text in texts:
                assert await refusal(face, text, Content_Type=JSON) == "malformed", text[:80]
            assert await count_stored(face) == 0


async def test_json_has_room_for_the_largest_bundle_and_an_end(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with open_face(tmp_path) as face:
            alice = Device("alice")
            own = recipients_of(alice.device_id)
            drafts = [Draft(own, bytes(size), (), 5) for size in [MESSAGE_BYTES_MAX] * 3 + [MESSAGE_BYTES_MAX - 1_000]]
            largest = _WIRE.to_json(_WIRE.decode(alice.bundle(face.origin, drafts).encode()))
            text = json.dumps(largest, indent=8).encode()
            assert (await face.ask("POST", "/v1/bundles", text, Content_Type=JSON)).status == 201
            larger = {**largest, "commons": base64url(bytes(BUNDLE_BYTES_MAX))}
            assert await refusal(face, encode_json(larger), Content_Type=JSON) == "bundle-too-large"
            text += b" " * (JSON_FACTOR * BUNDLE_BYTES_MAX + 1 - len(text))
            assert await refusal(face, text, Content_Type=JSON) == "body-too-large"


async def test_client_that_leaves_loses_its_answer_and_nothing_else(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path, epoch_ms=300) as face:
            alice = Device("alice")
            bundle = alice.write(face.origin, [b"sent and gone"])
            stream = await face.live.connect(
                request_bytes("POST", "/v1/bundles", {"Content-Type": OCTETS}, bundle.encode())
            )
            await wait_all_tasks_blocked(0.01)  # the bundle waits for its epoch, the handler for the receipt
            reset(stream)
            await face.provider.grow_log(2)
            reader = Reader(face, alice)
            await reader.read_all(await face.log_in(alice))
            assert reader.texts == [b"sent and gone"]
            assert await count_stored(face) == 1
            reader.follower.check_receipt(await face.send(bundle), bundle)
            assert await count_stored(face) == 1


async def test_client_that_never_ends_its_body_sends_nothing(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            data = Device("alice").write(face.origin, [b"x"]).encode()
            whole = request_bytes("POST", "/v1/bundles", {"Content-Type": OCTETS}, data)
            stream = await face.live.connect(whole[:-1])
            await wait_all_tasks_blocked(0.01)
            reset(stream)
            await wait_all_tasks_blocked(0.01)
            assert await count_stored(face) == 0
            async with await face.live.connect(whole) as stream:
                assert (await read_answer(stream)).status == 201


async def test_answer_that_takes_too_long_says_that_the_bundle_may_still_be_sequenced(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path, epoch_ms=500, answer_s=0.05) as face:
            bundle = Device("alice").write(face.origin, [b"x"])
            answer = await face.ask("POST", "/v1/bundles", bundle.encode(), Content_Type=OCTETS)
            assert problem_code(answer) == "unavailable"
            assert (answer.status, answer.headers[b"retry-after"]) == (503, b"2")
            assert b"may still be sequenced" in answer.body
            assert b"send the same bytes again" in answer.body
            await face.provider.grow_log(2)
            await face.send(bundle)
            assert await count_stored(face) == 1


async def test_bundles_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "_WAITING_MAX", 2)
    with trio.fail_after(10):
        async with open_face(tmp_path, epoch_ms=300) as face:
            waiting = [
                await face.live.connect(
                    request_bytes(
                        "POST", "/v1/bundles", {"Content-Type": OCTETS}, device.write(face.origin, [b"x"]).encode()
                    )
                )
                for device in (Device("alice"), Device("bob"))
            ]
            await wait_all_tasks_blocked(0.01)
            third = Device("carol").write(face.origin, [b"x"])
            assert await refusal(face, third.encode()) == "busy"
            for stream in waiting:
                assert (await read_answer(stream)).status == 201
            await face.send(third)


async def test_stopping_provider_says_so(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            bundle = Device("alice").write(face.origin, [b"x"])
            face.provider.gateway.pipeline.stop()
            assert await refusal(face, bundle.encode()) == "unavailable"


@pytest.mark.parametrize("topology", ["central", "multithreaded"])
async def test_other_topologies_answer_alike(tmp_path: Path, topology: str) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path, topology=topology) as face:
            alice = Device("alice")
            reader = Reader(face, alice)
            await reader.read_all(await face.log_in(alice))
            for text in (b"1", b"2"):
                bundle = alice.write(face.origin, [text])
                reader.follower.check_receipt(await face.send(bundle), bundle)
            assert await refusal(face, b"x" * 200) == "malformed"
