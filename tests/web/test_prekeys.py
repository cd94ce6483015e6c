"""Prekeys over HTTP: a device adds its own and nobody else does; each one-time key is handed out once."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from noise.protocol.encoding import Codec
from noise.protocol.identifiers import format_id
from noise.protocol.json_text import encode_json
from noise.protocol.limits import PREKEY_LIFE_MS, PREKEY_UPLOAD_BYTES_MAX, PREKEYS_IN_UPLOAD_MAX, PREKEYS_MAX
from noise.protocol.prekeys import (
    FALLBACK,
    NO_PREKEY_ID,
    ONE_TIME,
    PREKEY,
    PREKEY_COUNT,
    PREKEY_OFFER,
    PREKEY_UPLOAD,
    Prekey,
    PrekeyCount,
    PrekeyOffer,
    PrekeyUpload,
    SignedPrekey,
    open_offer,
    prekey_id_of,
    sign_prekey,
)
from noise.web.app import create_app
from noise.web.bodies import JSON_FACTOR, PREKEYS_PATH
from tests.protocol import naive_hpke
from tests.provider import Device, running_provider
from tests.vectors.cast import OTHER_ORIGIN, seed_of
from tests.web.face import JSON, OCTETS, Face, open_face, request_bytes
from tests.web.live_http import read_to_end, serving

_PREKEY: Codec[Prekey] = PREKEY
_UPLOAD: Codec[PrekeyUpload] = PREKEY_UPLOAD
_OFFER: Codec[PrekeyOffer] = PREKEY_OFFER
_COUNT: Codec[PrekeyCount] = PREKEY_COUNT
DAY_MS = 86_400_000
ALICE, BOB = Device("alice"), Device("bob")


def make(face: Face, number: int, kind: int = ONE_TIME, device: Device = ALICE, days: int = 7) -> SignedPrekey:
    """The device's prekey of that number; equal arguments make an equal one."""
    not_after_ms = face.provider.clock.ms + days * DAY_MS
    public = naive_hpke.public_of(seed_of(f"{device.name} {number}"))
    return sign_prekey(device.signer, face.origin, prekey_id_of(number), kind, public, not_after_ms)


def changed(face: Face, signer: Device = ALICE, origin: bytes | None = None, **changes: Any) -> SignedPrekey:
    """Alice's prekey 1 with other fields, signed as such."""
    body = _PREKEY.encode(_PREKEY.decode(make(face, 1).body)._replace(**changes))
    return SignedPrekey(*signer.signer.sign("prekey", origin or face.origin, body))


def encode(prekeys: Sequence[SignedPrekey]) -> bytes:
    return _UPLOAD.encode(PrekeyUpload(tuple(prekeys)))


async def upload(face: Face, *prekeys: SignedPrekey) -> PrekeyCount:
    answer = await face.ask("POST", PREKEYS_PATH, encode(prekeys), Content_Type=OCTETS)
    assert (answer.status, answer.headers[b"content-type"]) == (201, OCTETS.encode()), answer
    return _COUNT.decode(answer.body)


async def refusal(face: Face, *prekeys: SignedPrekey) -> str:
    """The code with which an upload is refused; it has changed nothing."""
    before = [await count(face, device) for device in (ALICE, BOB)]
    code = await face.code("POST", PREKEYS_PATH, encode(prekeys), Content_Type=OCTETS)
    assert [await count(face, device) for device in (ALICE, BOB)] == before
    return code


def path_of(device: Device, what: str) -> str:
    return f"/v1/devices/{format_id(device.device_id)}/{what}"


async def count(face: Face, device: Device = ALICE) -> PrekeyCount:
    answer = await face.ask("GET", path_of(device, "prekeys"), Accept=OCTETS)
    assert (answer.status, answer.headers[b"cache-control"]) == (200, b"no-store")
    return _COUNT.decode(answer.body)


async def take(face: Face, device: Device = ALICE) -> tuple[int | None, int | None]:
    """Numbers of the one-time key and the fallback that are handed out, verified."""
    answer = await face.ask("GET", path_of(device, "prekey"), Accept=OCTETS)
    assert (answer.status, answer.headers[b"cache-control"]) == (200, b"no-store")
    pair = open_offer(_OFFER.decode(answer.body), face.origin, device.device_id, face.provider.clock.ms)
    one_time, fallback = [prekey and int.from_bytes(prekey.prekey_id, "big") for prekey in pair]
    return one_time, fallback


async def test_each_one_time_key_is_handed_out_once(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            tally = await upload(face, make(face, 1), make(face, 2), make(face, 3, FALLBACK))
            assert tally == PrekeyCount(2, face.provider.clock.ms + 7 * DAY_MS, prekey_id_of(3))
            assert await count(face) == tally
            assert await take(face) == (1, 3)
        async with open_face(tmp_path) as face:
            assert await take(face) == (2, 3)
            assert await take(face) == await take(face) == (None, 3)
            assert await count(face) == tally._replace(one_time=0)


async def test_many_ask_at_once(tmp_path: Path) -> None:
    taken = []
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            await upload(face, *[make(face, number) for number in range(1, 9)], make(face, 9, FALLBACK))

            async def ask() -> None:
                taken.append(await take(face))

            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(ask)
            assert sorted(one_time for one_time, _ in taken if one_time is not None) == list(range(1, 9))
            assert {fallback for _, fallback in taken} == {9}


async def test_devices_without_prekeys(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            assert await count(face, BOB) == PrekeyCount(0, 0, NO_PREKEY_ID)
            assert await face.code("GET", path_of(BOB, "prekey")) == "no-prekeys"
            await upload(face, make(face, 1))
            assert await take(face) == (1, None)
            assert await face.code("GET", path_of(ALICE, "prekey")) == "no-prekeys"
            assert (await count(face)).last_id == prekey_id_of(1)


async def test_json_face(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            sent = PrekeyUpload((make(face, 1), make(face, 2, FALLBACK)))
            answer = await face.ask("POST", PREKEYS_PATH, encode_json(_UPLOAD.to_json(sent)), Content_Type=JSON)
            expected = {"one_time": 1, "fallback_not_after_ms": str(face.provider.clock.ms + 7 * DAY_MS)}
            assert (answer.status, json.loads(answer.body)) == (201, expected | {"last_id": "AAAAAAAAAAI"})
            answer = await face.ask("GET", path_of(ALICE, "prekey"))
            assert answer.headers[b"content-type"] == JSON.encode()
            assert _OFFER.from_json(json.loads(answer.body)) == PrekeyOffer(*sent.prekeys)
            answer = await face.ask("GET", path_of(ALICE, "prekeys"))
            assert json.loads(answer.body)["one_time"] == 0


async def test_replayed_uploads_change_nothing(tmp_path: Path) -> None:
    """What was ever public can be sent again by anybody: a used key does not come back, nor does an older fallback."""
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            first = [make(face, 1), make(face, 2), make(face, 3, FALLBACK, days=60)]
            await upload(face, *first)
            await take(face)
            newer = make(face, 4, FALLBACK, days=7)
            tally = await upload(face, newer)
            assert tally == PrekeyCount(1, face.provider.clock.ms + 7 * DAY_MS, prekey_id_of(4))
            for replayed in (first, first[:1], first[2:], [first[0], newer]):
                assert await upload(face, *replayed) == tally
            assert await take(face) == (2, 4)
            # A key of a replayed number that its own device signed anew is no different.
            assert await upload(face, make(face, 2, days=8), make(face, 5)) == tally._replace(last_id=prekey_id_of(5))
            assert await take(face) == (5, 4)


async def test_nobody_adds_to_the_keys_of_others(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            bob_key, good = BOB.signer.public_key, make(face, 1)
            other = naive_hpke.public_of(seed_of("other"))
            for code, prekey in (
                ("bad-signature", changed(face, BOB)),
                ("bad-signature", SignedPrekey(changed(face, public=other).body, good.signature)),
                ("bad-signature", SignedPrekey(good.body, bytes(64))),
                ("wrong-key", changed(face, BOB, key=bob_key)),
                ("wrong-key", changed(face, BOB, device_id=BOB.device_id)),
                ("wrong-origin", changed(face, origin=OTHER_ORIGIN)._replace(body=foreign(face))),
                ("bad-key", changed(face, public=bytes(32))),
                ("bad-key", changed(face, public=b"\xff" * 32)),
                ("malformed", changed(face, kind=0)),
                ("malformed", changed(face, prekey_id=NO_PREKEY_ID)),
                ("malformed", SignedPrekey(b"", bytes(64))),
            ):
                assert await refusal(face, prekey) == code
                assert await refusal(face, prekey, make(face, 2)) in {code, "malformed"}
            # The bad one last: nothing is stored of those before it.
            assert await refusal(face, good, SignedPrekey(make(face, 2).body, bytes(64))) == "bad-signature"


def foreign(face: Face) -> bytes:
    return _PREKEY.encode(_PREKEY.decode(make(face, 1).body)._replace(origin=OTHER_ORIGIN))


async def test_uploads_that_are_none(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            one, two = make(face, 1), make(face, 2)
            for prekeys in (
                [],
                [two, one],
                [one, one],
                [one, make(face, 2, device=BOB)],
                [make(face, 1, FALLBACK), make(face, 2, FALLBACK)],
            ):
                assert await refusal(face, *prekeys) == "malformed"
            for body in (b"", encode([one])[:-1], encode([one]) + b"\0", b"\xff\xff\xff\xff"):
                assert await face.code("POST", PREKEYS_PATH, body, Content_Type=OCTETS) == "malformed"
            for text in (b"", b"{}", b"[]", b'{"prekeys":[{}]}', b'{"prekeys":[null]}'):
                assert await face.code("POST", PREKEYS_PATH, text, Content_Type=JSON) == "malformed"
            code = await face.code("POST", PREKEYS_PATH, encode([one]), Content_Type="text/plain")
            assert code == "unsupported-media-type"


async def test_sizes(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with open_face(tmp_path) as face:
            full = [make(face, number) for number in range(1, PREKEYS_IN_UPLOAD_MAX + 1)]
            one_more = [*full, make(face, PREKEYS_IN_UPLOAD_MAX + 1)]
            assert await refusal(face, *one_more) == "malformed"
            text = encode_json(_UPLOAD.to_json(PrekeyUpload(tuple(full))))
            assert (await face.ask("POST", PREKEYS_PATH, text, Content_Type=JSON)).status == 201
            for media_type, size in ((OCTETS, PREKEY_UPLOAD_BYTES_MAX), (JSON, PREKEY_UPLOAD_BYTES_MAX * JSON_FACTOR)):
                code = await face.code("POST", PREKEYS_PATH, bytes(size), Content_Type=media_type)
                assert code == "malformed"
                code = await face.code("POST", PREKEYS_PATH, bytes(size + 1), Content_Type=media_type)
                assert code == "body-too-large"


async def test_stock_is_bounded(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with open_face(tmp_path) as face:
            for first in range(1, PREKEYS_MAX, PREKEYS_IN_UPLOAD_MAX):
                await upload(face, *[make(face, number) for number in range(first, first + PREKEYS_IN_UPLOAD_MAX)])
            assert (await count(face)).one_time == PREKEYS_MAX
            assert await refusal(face, make(face, PREKEYS_MAX + 1)) == "too-many-prekeys"
            assert (await upload(face, make(face, PREKEYS_MAX + 1, FALLBACK))).one_time == PREKEYS_MAX
            assert await take(face) == (1, PREKEYS_MAX + 1)
            assert (await upload(face, make(face, PREKEYS_MAX + 2))).one_time == PREKEYS_MAX


async def test_devices_are_bounded(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with running_provider(tmp_path / "provider") as provider:
            app = create_app(provider.gateway._replace(devices_max=1))
            async with serving(app) as live:
                face = Face(provider, live)
                await upload(face, make(face, 1))
                assert await refusal(face, make(face, 1, device=BOB)) == "prekey-quota"
                await upload(face, make(face, 2, FALLBACK))
                provider.clock.ms += 7 * DAY_MS
                assert await refusal(face, make(face, 1, device=BOB)) == "prekey-quota"
                provider.clock.ms += 1
                assert (await upload(face, make(face, 1, device=BOB))).one_time == 1
                assert await count(face) == PrekeyCount(0, 0, NO_PREKEY_ID)


async def test_ends(tmp_path: Path) -> None:
    """Expired keys are neither taken in nor handed out, and none may live for too long."""
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            now_ms = face.provider.clock.ms
            assert await refusal(face, changed(face, not_after_ms=now_ms - 1)) == "prekey-expired"
            assert await refusal(face, changed(face, not_after_ms=0), make(face, 2)) == "prekey-expired"
            assert await refusal(face, changed(face, not_after_ms=now_ms + PREKEY_LIFE_MS + 1)) == "prekey-too-long"
            assert await refusal(face, changed(face, not_after_ms=2**64 - 1)) == "prekey-too-long"
            await upload(face, changed(face, not_after_ms=now_ms), make(face, 2), make(face, 3, FALLBACK, days=1))
            await upload(face, changed(face, prekey_id=prekey_id_of(4), not_after_ms=now_ms + PREKEY_LIFE_MS))
            face.provider.clock.ms += 1
            assert await count(face) == PrekeyCount(2, now_ms + DAY_MS, prekey_id_of(4))
            assert await take(face) == (2, 3)
            face.provider.clock.ms += DAY_MS
            assert await count(face) == PrekeyCount(1, 0, prekey_id_of(4))
            assert await take(face) == (4, None)
            assert await face.code("GET", path_of(ALICE, "prekey")) == "no-prekeys"
            # Replayed after they have expired they are refused for that.
            assert await refusal(face, changed(face, not_after_ms=now_ms)) == "prekey-expired"


@pytest.mark.parametrize("what", ["prekey", "prekeys"])
async def test_ids_that_are_none(tmp_path: Path, what: str) -> None:
    good = format_id(ALICE.device_id)
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            for text in (good[:-1], good + "A", "self" if what == "prekey" else "other", good[:-1] + "=", "%00", "%FF"):
                assert await face.code("GET", f"/v1/devices/{text}/{what}") == "malformed", text
            last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            not_canonical = good[:-1] + last[last.index(good[-1]) | 3]
            assert await face.code("GET", f"/v1/devices/{not_canonical}/{what}") == "malformed"
            for path in (f"/v1/devices//{what}", f"/v1/devices/{good}/{good}/{what}", f"/v1/devices/{good}/{what}/"):
                assert await face.code("GET", path) == "not-found", path
            assert await face.code("GET", f"/v1/devices/{good}/{what}?x=1") == "bad-query"
            assert await face.code("POST", f"/v1/devices/{good}/{what}") == "method-not-allowed"
            assert await face.code("GET", f"/v1/devices/{good}/{what}", Accept="text/html") == "not-acceptable"


async def test_only_get_takes(tmp_path: Path) -> None:
    """What fetches no body takes no key."""
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            await upload(face, make(face, 1))
            request = request_bytes("HEAD", path_of(ALICE, "prekey"), {"Connection": "close"})
            async with await face.live.connect(request) as stream:
                head = await read_to_end(stream)
            assert head.startswith(b"HTTP/1.1 405 ")
            assert b"\r\nallow: GET\r\n" in head
            assert await face.code("OPTIONS", path_of(ALICE, "prekey")) == "method-not-allowed"
            assert await face.code("GET", path_of(ALICE, "prekey"), Accept="text/html") == "not-acceptable"
            assert await face.code("GET", path_of(ALICE, "prekey") + "?x=1") == "bad-query"
            assert await take(face) == (1, None)


async def test_upload_has_no_query(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            code = await face.code("POST", PREKEYS_PATH + "?x=1", encode([make(face, 1)]), Content_Type=OCTETS)
            assert code == "bad-query"
