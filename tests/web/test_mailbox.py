"""Reading a mailbox page by page: everything arrives, everything verifies, and nobody else's mail does."""

import json
from pathlib import Path

import pytest
import trio

from noise.pipeline import catchup
from noise.protocol.delta import DELTA, Delta
from noise.protocol.encoding import Codec
from noise.protocol.envelope import Draft
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.frames import START
from noise.protocol.identifiers import NO_EPOCH
from noise.protocol.json_text import base64url
from noise.protocol.limits import PAGE_BYTES_MAX
from tests.provider import Device, recipients_of
from tests.web.face import JSON, Reader, open_face, problem_code

_DELTA: Codec[Delta] = DELTA


async def test_pages_of_thousands_of_messages_verify(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with open_face(tmp_path) as face:
            alice, bob = Device("alice"), Device("bob")
            sent: list[bytes] = []
            for first in range(0, 3_072, 256):
                texts = [b"%d " % number + bytes(1_000) for number in range(first, first + 256)]
                await face.provider.submit(alice.write(face.origin, texts, [bob]))
                sent += texts
            for device in (alice, bob):
                reader = Reader(face, device)
                assert await reader.read_all(await face.log_in(device)) >= len(sent) * 1_000 // PAGE_BYTES_MAX
                assert reader.texts == sent


async def test_pages_of_many_epochs_verify_and_bring_the_state_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup, "PAGE_RECORDS_MAX", 20)
    with trio.fail_after(30):
        async with open_face(tmp_path) as face:
            alice, bob = Device("alice"), Device("bob")
            sent = [b"%d" % number for number in range(30)]
            for text in sent[:-1]:
                await face.provider.submit(alice.write(face.origin, [text], [bob]))
            token = await face.log_in(bob)
            reader = Reader(face, bob)
            assert await reader.read_page(token)
            assert len(reader.texts) == 20
            await face.provider.submit(alice.write(face.origin, [sent[-1]], [bob]))
            await face.provider.grow_log(40)
            assert not await reader.read_page(token)
            assert reader.texts == sent
            assert reader.follower.cursor.log_size == 40
            assert not await reader.read_page(token)  # a heartbeat
            assert reader.texts == sent


async def test_pages_verify_while_epochs_go_on(tmp_path: Path) -> None:
    """Many clients stand at the same cursor while pages are being made under an epoch that is the newest no more."""
    with trio.fail_after(30):
        async with open_face(tmp_path) as face:
            alice, bob, carol = Device("alice"), Device("bob"), Device("carol")
            for _ in range(16):
                await face.provider.submit(alice.write(face.origin, [b"x"], [bob]))
            token = await face.log_in(bob)

            async def write() -> None:
                for _ in range(40):
                    await face.provider.submit(carol.write(face.origin, [b"elsewhere"]))
                nursery.cancel_scope.cancel()

            async def read() -> None:
                while True:
                    await Reader(face, bob).read_page(token)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                for _ in range(2):
                    nursery.start_soon(read)


async def test_pages_of_several_outboxes_and_lanes_verify(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with open_face(tmp_path, inboxes=3, outboxes=3) as face:
            devices = [Device(f"device {number}") for number in range(6)]
            for device in devices:
                await face.provider.submit(device.write(face.origin, [b"from " + device.name.encode()], devices))
            for device in devices:
                reader = Reader(face, device)
                await reader.read_all(await face.log_in(device))
                assert sorted(reader.texts) == [b"from device %d" % number for number in range(6)]


async def test_device_without_mail_gets_a_proof_that_it_has_none(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            device = Device("nobody writes to me")
            reader = Reader(face, device)
            assert await reader.read_all(await face.log_in(device)) == 1
            assert reader.follower.trusted.log.size == 1
            assert reader.follower.trusted.state is None


async def test_json_page_says_what_the_binary_one_does(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            alice = Device("alice")
            await face.provider.submit(alice.write(face.origin, [b"one", b"two"]))
            await face.provider.grow_log(3)
            token = await face.log_in(alice)
            binary = await face.ask("GET", "/v1/mailbox", Authorization=token, Accept="*/*")
            readable = await face.ask("GET", "/v1/mailbox", Authorization=token, Accept=JSON)
            assert (binary.headers[b"content-type"], readable.headers[b"content-type"]) == (
                b"application/octet-stream",
                b"application/json",
            )
            assert json.loads(readable.body) == _DELTA.to_json(_DELTA.decode(binary.body))
            assert binary.headers[b"vary"] == b"Accept"
            assert binary.headers[b"cache-control"] == b"no-store"
            refused = await face.ask("GET", "/v1/mailbox", Authorization=token, Accept="text/html")
            assert problem_code(refused) == "not-acceptable"


async def test_token_opens_its_own_mailbox_only(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            alice, bob = Device("alice"), Device("bob")
            await face.provider.submit(alice.write(face.origin, [b"to myself"]))
            await face.provider.submit(bob.write(face.origin, [b"to myself, too"]))
            thief = Reader(face, bob)
            with pytest.raises(ProviderMisbehaved):  # what alice's token opens is not bob's mailbox
                await thief.read_page(await face.log_in(alice))
            for device, text in ((alice, b"to myself"), (bob, b"to myself, too")):
                reader = Reader(face, device)
                await reader.read_all(await face.log_in(device))
                assert reader.texts == [text]


async def test_without_a_token_there_is_nothing_to_read(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            token = (await face.log_in(Device("alice"))).removeprefix("Bearer ")

            async def code(**headers: str) -> str:
                answer = await face.ask("GET", "/v1/mailbox", b"", **headers)
                assert (answer.status, answer.headers[b"www-authenticate"]) == (401, b"Bearer")
                return problem_code(answer)

            assert await code() == "token-missing"
            assert await code(Authorization=token) == "token-missing"
            assert await code(Authorization="Basic " + token) == "token-missing"
            assert await code(Authorization=f"Bearer {token}\r\nAuthorization: Bearer {token}") == "token-missing"
            for other in ("", token[:-1], token + "A", token + "=", " " + token, base64url(bytes(32)), "\xff"):
                assert await code(Authorization="Bearer " + other) == "token-unknown"
            assert (await face.ask("GET", "/v1/mailbox", Authorization="bearer " + token)).status == 200


async def test_token_in_the_url_is_refused(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            token = await face.log_in(Device("alice"))
            for name in ("token", "access_token", "bearer"):
                target = f"/v1/mailbox?{name}={token.removeprefix('Bearer ')}"
                assert await face.code("GET", target) == "bad-query"
                assert await face.code("GET", target, Authorization=token) == "bad-query"


async def test_cursor_is_read_strictly(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            token = await face.log_in(Device("alice"))
            for query in (
                "log_size",
                "log_size=",
                "log_size=01",
                "log_size=+1",
                "log_size=-1",
                "log_size=1_0",
                "log_size=%31",
                "log_size=1.0",
                "log_size=0&log_size=0",
                "log_size=0&",
                "&",
                "Log_size=0",
                "log_size=18446744073709551616",
                "last_epoch=99999999999999999999",
                "last_epoch=100000000000000000000",
                "epoch=0",
            ):
                assert await face.code("GET", f"/v1/mailbox?{query}", Authorization=token) == "bad-query", query


async def test_cursors_of_no_honest_client_are_refused(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            alice = Device("alice")
            for _ in range(3):
                await face.provider.submit(alice.write(face.origin, [b"x"]))
            await face.provider.grow_log(4)
            token = await face.log_in(alice)

            async def code(**cursor: int) -> str:
                query = "&".join(f"{name}={number}" for name, number in cursor.items())
                return await face.code("GET", f"/v1/mailbox?{query}", Authorization=token)

            assert await code(log_size=5) == "cursor-ahead"
            assert await code(log_size=2**64 - 1) == "cursor-ahead"
            assert await code(roster_version=99) == "cursor-ahead"
            assert await code(hist_size=4) == "bad-cursor"
            assert await code(hist_size=1, hist_next=2) == "bad-cursor"
            for last_epoch in (0, 3, 99, 2**63, NO_EPOCH):
                assert await code(hist_size=1, hist_next=1, last_epoch=last_epoch) == "bad-cursor"
            ask = f"/v1/mailbox?{'&'.join(f'{name}={number}' for name, number in START._asdict().items())}"
            assert (await face.ask("GET", ask, Authorization=token)).status == 200


async def test_page_does_not_grow_with_the_recipient_lists_that_it_brings(tmp_path: Path) -> None:
    """An attacker sends short messages to many, in small epochs, each under a new list: no page may outgrow a frame."""
    with trio.fail_after(30):
        async with open_face(tmp_path) as face:
            crowd = [number.to_bytes(32, "big") for number in range(1_000)]
            alice, bob = Device("alice"), Device("bob")
            for first in range(0, 56, 4):
                lists = [recipients_of(alice.device_id, bob.device_id, *crowd[n:]) for n in range(first, first + 4)]
                await face.provider.submit(alice.bundle(face.origin, [Draft(one, b"x", (), 5) for one in lists]))
            reader = Reader(face, bob)
            token = await face.log_in(bob)
            answer = await face.ask("GET", "/v1/mailbox", Authorization=token)
            assert len(answer.body) < PAGE_BYTES_MAX + 8 * 32_768
            assert await reader.read_all(token) == 2
            assert len(reader.texts) == 56
