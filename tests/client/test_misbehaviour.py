"""Providers that lie or break the rules, over real sockets: what a client believes, and when it ends."""

from pathlib import Path

import pytest
import trio
import trio.testing
from wsproto.events import BytesMessage, CloseConnection

from noise.protocol.envelope import open_bundle
from noise.protocol.frames import (
    BundleFrame,
    DeltaFrame,
    ReceiptFrame,
)
from noise.protocol.push_session import CloseCode
from noise_client import (
    ClientState,
    LinkError,
    MemoryTrustStore,
    ProviderMisbehaved,
    create_device_file,
    open_client,
)
from tests.client.devices import ALICE, BOB, NOBODY, QUICK, take
from tests.client.scripted import Provider, Session, in_time, serving
from tests.vectors.cast import ORIGIN, bundle_of, draft_of, recipients_of


@in_time
async def test_a_false_delta_ends_the_client_for_good(tmp_path: Path) -> None:
    provider = Provider()
    sent: list[bytes] = []

    async def script(session: Session) -> None:
        await session.let_in()
        await session.send_delta(provider.tiny)
        await session.receive_a(BundleFrame)
        provider.tiny.commit([])
        assert session.cursor is not None
        delta, _ = provider.tiny.delta(session.device_id, session.cursor, session.lists)
        frame = DeltaFrame(delta._replace(shared=delta.shared._replace(head_proof=())))
        sent.append(session.push.send(frame))  # type: ignore[arg-type]
        await session.ws.send_message(sent[0])
        await session.receive()

    path = tmp_path / "alice.device"
    create_device_file(path, ALICE)
    async with serving(script) as server:
        async with open_client(server.url, path, settings=QUICK) as client:
            with pytest.raises(ProviderMisbehaved) as misbehaved:
                await client.send([BOB.device_id], b"x")
            assert client.state is ClientState.CLOSED
            assert client.failure is misbehaved.value
            assert misbehaved.value.evidence[0] in sent[0]
            for call in (
                take(client, 1),
                client.send([BOB.device_id], b"x"),
                client.enqueue([BOB.device_id], b"x"),
                client.wait_state(ClientState.LIVE),
            ):
                with pytest.raises(ProviderMisbehaved):
                    await call
            assert client.origin == ORIGIN
        assert len(server.sessions) == 1
    async with open_client(NOBODY, path, settings=QUICK) as client:
        [offence] = await client.offences()
        assert offence.evidence == misbehaved.value.evidence
        assert (offence.code, offence.detail) == (misbehaved.value.code, misbehaved.value.detail)
        assert len(client.unsent()) == 1


@in_time
async def test_a_provider_that_proves_nothing_gets_no_bundle() -> None:
    """What we sign names its origin, which only a verified delta can tell."""
    provider = Provider()

    async def script(session: Session) -> None:
        await session.let_in()
        if session.number == 0:
            with trio.move_on_after(0.1):
                pytest.fail(f"it got {await session.receive()}")
        await session.send_delta(provider.tiny)
        await provider.hear(session, await session.receive_a(BundleFrame))
        await session.receive()

    async with serving(script) as server, open_client(server.url, ALICE, settings=QUICK) as client:
        await client.send([BOB.device_id], b"x")


@in_time
async def test_a_lie_counts_more_than_the_end_of_the_connection_after_it() -> None:
    provider = Provider()
    provider.tiny.submit(bundle_of("alice", [draft_of(recipients_of("alice", "bob"), b"x")], 1))
    taken = trio.Event()

    async def script(session: Session) -> None:
        await session.let_in()
        await session.send_delta(provider.tiny)
        await taken.wait()
        ws = session.ws
        lie, end = BytesMessage(data=b"\xfflie"), CloseConnection(code=CloseCode.GOING_AWAY)
        await ws._stream.send_all(ws._wsproto.send(lie) + ws._wsproto.send(end))
        await session.receive()

    settings = QUICK._replace(ack_quiet_s=100, ack_interval_s=100)
    store = MemoryTrustStore(BOB)
    async with serving(script) as server, open_client(server.url, BOB, store=store, settings=settings) as client:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def listen() -> None:
                with pytest.raises(ProviderMisbehaved):
                    await take(client, 2)

            await client.wait_state(ClientState.LIVE)
            while store.untaken(1, 1):
                await trio.testing.wait_all_tasks_blocked()
            taken.set()
        assert isinstance(client.failure, ProviderMisbehaved)
        assert len(server.sessions) == 1


@in_time
async def test_what_was_verified_before_a_lie_is_still_delivered() -> None:
    provider = Provider()
    drafts = [draft_of(recipients_of("alice", "bob"), b"true")]
    provider.tiny.submit(bundle_of("alice", drafts, 1))

    async def script(session: Session) -> None:
        await session.let_in()
        await session.send_delta(provider.tiny)
        await session.ws.send_message(b"\xffnot a frame")
        await session.receive()

    async with serving(script) as server, open_client(server.url, BOB, settings=QUICK) as client:
        await client.wait_state(ClientState.CLOSED)
        assert await take(client, 1) == [b"true"]
        with pytest.raises(ProviderMisbehaved) as misbehaved:
            await take(client, 1)
        assert misbehaved.value.evidence == (b"\xffnot a frame",)


@pytest.mark.parametrize("code", [CloseCode.PROTOCOL, CloseCode.UNAUTHENTICATED])
@in_time
async def test_a_fatal_close_ends_the_client(code: int) -> None:
    async def script(session: Session) -> None:
        await session.let_in()
        await session.end(code)

    async with serving(script) as server:
        async with open_client(server.url, ALICE, settings=QUICK) as client:
            with pytest.raises(LinkError) as closed:
                await client.send([BOB.device_id], b"x")
            assert closed.value.close_code == code
        assert len(server.sessions) == 1


@in_time
async def test_an_answer_to_no_question_ends_the_connection() -> None:
    provider = Provider()

    async def script(session: Session) -> None:
        await session.let_in()
        await session.send_delta(provider.tiny)
        if session.number:
            await provider.hear(session, await session.receive_a(BundleFrame))
        else:
            frame = await session.receive_a(BundleFrame)
            assert isinstance(frame, BundleFrame)
            receipt = provider.tiny.submit(open_bundle(frame.bundle, ORIGIN))
            await session.send(ReceiptFrame(frame.request + 1, receipt))
        await session.receive()

    async with serving(script) as server, open_client(server.url, ALICE, settings=QUICK) as client:
        await client.send([BOB.device_id], b"x")
        assert client.last_problem is not None
        assert client.last_problem.code == "out-of-turn"
