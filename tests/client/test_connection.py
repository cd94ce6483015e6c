"""One connection after the other, over real sockets, with a provider that follows a script or departs from it."""

import pytest
import trio
import trio.testing

from noise.protocol.envelope import open_bundle
from noise.protocol.frames import (
    BundleFrame,
    PingFrame,
    PongFrame,
    RefusalFrame,
)
from noise.protocol.push_session import CloseCode
from noise_client import (
    ClientState,
    MemoryTrustStore,
    Rejected,
    open_client,
)
from tests.client.devices import ALICE, BOB, QUICK, take
from tests.client.scripted import Provider, Session, in_time, serving
from tests.vectors.cast import ORIGIN, bundle_of, draft_of, recipients_of


@in_time
async def test_a_broken_connection_is_made_again_and_goes_on_where_it_was() -> None:
    provider = Provider()
    cursors: list[int] = []

    async def script(session: Session) -> None:
        cursors.append((await session.let_in()).cursor.hist_next)
        await session.send_delta(provider.tiny)
        if session.number == 0:
            return
        await provider.hear(session, await session.receive_a(BundleFrame))
        await session.send_delta(provider.tiny)
        await session.end(CloseCode.GOING_AWAY)

    drafts = [draft_of(recipients_of("alice", "bob"), b"early")]
    provider.tiny.submit(bundle_of("alice", drafts, 1))
    async with serving(script) as server, open_client(server.url, BOB, settings=QUICK) as client:
        assert await take(client, 1) == [b"early"]
        await client.send([ALICE.device_id], b"one")
        await client.send([ALICE.device_id], b"two")
        assert await take(client, 2) == [b"one", b"two"]
    assert cursors[:3] == [0, 1, 2]


@in_time
async def test_a_bundle_without_an_answer_is_sent_again_as_it_was() -> None:
    provider = Provider()
    heard: list[bytes] = []

    async def script(session: Session) -> None:
        await session.let_in()
        await session.send_delta(provider.tiny)
        frame = await session.receive_a(BundleFrame)
        assert isinstance(frame, BundleFrame)
        heard.append(frame.bundle)
        if session.number == 1:
            provider.tiny.submit(open_bundle(frame.bundle, ORIGIN))  # accepted, but the receipt is lost
        if session.number == 2:
            await provider.hear(session, frame)
            await session.receive()

    async with serving(script) as server, open_client(server.url, ALICE, settings=QUICK) as client:
        receipt = await client.send([BOB.device_id], b"x")
    assert len(heard) == 3
    assert len(set(heard)) == 1
    assert receipt.epoch == provider.tiny.epoch == 1


@in_time
async def test_a_provider_that_never_answers_a_bundle_is_left_for_a_new_connection() -> None:
    provider = Provider()

    async def script(session: Session) -> None:
        await session.let_in()
        await session.send_delta(provider.tiny)
        frame = await session.receive_a(BundleFrame)
        if session.number:
            await provider.hear(session, frame)
        await session.receive()

    settings = QUICK._replace(answer_timeout_s=0.05)
    async with serving(script) as server, open_client(server.url, ALICE, settings=settings) as client:
        await client.send([BOB.device_id], b"x")
        assert client.last_problem is not None
        assert client.last_problem.code == "link-stuck"


async def refusing(session: Session, provider: Provider, codes: list[str], heard: list[bytes]) -> None:
    await session.let_in()
    await session.send_delta(provider.tiny)
    while True:
        frame = await session.receive_a(BundleFrame)
        assert isinstance(frame, BundleFrame)
        heard.append(frame.bundle)
        if codes:
            await session.send(RefusalFrame(frame.request, codes.pop(0), "as the test says"))
        else:
            await provider.hear(session, frame)


@in_time
async def test_a_refusal_for_now_is_tried_again_with_the_same_bytes() -> None:
    provider, codes, heard = Provider(), ["busy", "unavailable", "busy"], []

    async def script(session: Session) -> None:
        await refusing(session, provider, codes, heard)

    async with serving(script) as server, open_client(server.url, ALICE, settings=QUICK) as client:
        await client.send([BOB.device_id], b"x")
    assert len(heard) == 4
    assert len(set(heard)) == 1


@in_time
async def test_a_final_refusal_fails_its_messages_and_no_others() -> None:
    provider, codes, heard = Provider(), ["counter-conflict"], []

    async def script(session: Session) -> None:
        await refusing(session, provider, codes, heard)

    async with serving(script) as server, open_client(server.url, ALICE, settings=QUICK) as client:
        with pytest.raises(Rejected, match="as the test says") as refused:
            await client.send([BOB.device_id], b"x")
        assert refused.value.code == "counter-conflict"
        assert (await client.send([BOB.device_id], b"y")).epoch == 1


@in_time
async def test_every_live_connection_makes_the_next_wait_short_again() -> None:
    provider = Provider()

    async def script(session: Session) -> None:
        await session.let_in()
        await session.send_delta(provider.tiny)
        if session.number < 15:
            await session.end(CloseCode.GOING_AWAY)
        await session.receive()

    settings = QUICK._replace(backoff_first_s=0.01, backoff_max_s=1000)
    async with serving(script) as server, open_client(server.url, ALICE, settings=settings) as client:
        async for state in client.states():
            if state is ClientState.LIVE and len(server.sessions) == 16:
                break


@pytest.mark.parametrize(
    "code",
    [
        CloseCode.GOING_AWAY,
        CloseCode.SLOW_READER,
        CloseCode.IDLE,
        CloseCode.REPLACED,
        CloseCode.UNAVAILABLE,
        CloseCode.CURSOR_AHEAD,
        4999,
    ],
)
@in_time
async def test_any_other_close_is_followed_by_another_attempt(code: int) -> None:
    provider = Provider()

    async def script(session: Session) -> None:
        if session.number < 3:
            await session.let_in()
            await session.end(code)
        await provider.serve(session)

    async with serving(script) as server, open_client(server.url, ALICE, settings=QUICK) as client:
        states = client.states()
        await client.wait_state(ClientState.LIVE)
        assert client.last_problem is not None
        assert client.last_problem.close_code == code
        seen = []
        async for state in states:
            seen.append(state.value)
            if state is ClientState.LIVE:
                break
    assert seen == ["connecting", "syncing", "backoff"] * 3 + ["connecting", "syncing", "live"]


@in_time
async def test_acknowledgements_come_when_the_application_pauses_and_at_the_end() -> None:
    provider = Provider()
    for n in range(3):
        drafts = [draft_of(recipients_of("alice", "bob"), b"%d" % n)]
        provider.tiny.submit(bundle_of("alice", drafts, n + 1))
    async with serving(provider.serve) as server:
        async with open_client(server.url, BOB, settings=QUICK) as client:
            assert await take(client, 2) == [b"0", b"1"]
            deliveries = client.deliveries()
            await anext(deliveries)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert provider.acks == []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take, client, 1)
                await provider.wait_heard(lambda: len(provider.acks) == 1)
                nursery.cancel_scope.cancel()
            await client.send([ALICE.device_id], b"3")
            assert await take(client, 1) == [b"3"]
        await provider.wait_heard(lambda: len(provider.acks) == 2)
    assert [(ack.device_id, ack.epoch, ack.hist_next) for ack in provider.acks] == [
        (BOB.device_id, 3, 3),
        (BOB.device_id, 4, 4),
    ]


@in_time
async def test_a_busy_application_acknowledges_now_and_then() -> None:
    provider = Provider()
    settings = QUICK._replace(ack_quiet_s=0.02, ack_interval_s=0.1)
    async with serving(provider.serve) as server, open_client(server.url, BOB, settings=settings) as client:

        async def be_busy() -> None:
            while True:
                await client.send([BOB.device_id], b"x")
                await take(client, 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_busy)
            await provider.wait_heard(lambda: len(provider.acks) == 3)
            nursery.cancel_scope.cancel()
    assert len(provider.bundles) > 6


@in_time
async def test_a_silent_provider_is_asked_and_then_left() -> None:
    provider = Provider()
    pings: list[int] = []

    async def script(session: Session) -> None:
        await session.let_in()
        await session.send_delta(provider.tiny)
        while True:
            frame = await session.receive_a(PingFrame)
            pings.append(session.number)
            if session.number:
                await provider.hear(session, frame)

    settings = QUICK._replace(ping_after_s=0.2, silence_max_s=0.38)
    async with serving(script) as server, open_client(server.url, ALICE, settings=settings) as client:
        while pings.count(1) < 3:
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert client.last_problem is not None
        assert client.last_problem.code == "link-silent"
        assert client.state is ClientState.LIVE
    assert pings.count(0) == 1
    assert len(server.sessions) == 2


@in_time
async def test_a_client_that_only_listens_still_says_something() -> None:
    """A provider ends connections on which nothing comes, however much it sends itself."""
    provider = Provider()
    pinged = trio.Event()

    async def script(session: Session) -> None:
        await session.let_in()
        async with trio.open_nursery() as nursery:

            async def talk() -> None:
                while True:
                    provider.tiny.commit([])
                    await session.send_delta(provider.tiny)
                    await trio.testing.wait_all_tasks_blocked(0.01)

            nursery.start_soon(talk)
            await session.receive_a(PingFrame)
            pinged.set()
            nursery.cancel_scope.cancel()

    settings = QUICK._replace(ping_after_s=0.2, silence_max_s=0.5)
    async with serving(script) as server, open_client(server.url, ALICE, settings=settings):
        await pinged.wait()
        assert len(server.sessions) == 1


@in_time
async def test_pings_are_answered() -> None:
    provider = Provider()
    answered = trio.Event()

    async def script(session: Session) -> None:
        await session.let_in()
        await session.send(PingFrame(b"p" * 16))
        assert await session.receive() == PongFrame(b"p" * 16)
        answered.set()
        await session.send_delta(provider.tiny)
        await session.receive()

    async with serving(script) as server, open_client(server.url, ALICE, settings=QUICK):
        await answered.wait()


@in_time
async def test_a_slow_application_slows_nobody_and_misses_nothing() -> None:
    """Its backlog is bounded: what does not fit is left to the provider, and its own sends go on."""
    provider = Provider()
    settings = QUICK._replace(backlog_bytes_max=5 * (256 + 2 * 32 + 3))
    store = MemoryTrustStore(BOB)
    async with serving(provider.serve) as server:
        async with open_client(server.url, BOB, store=store, settings=settings) as client:
            for n in range(30):
                await client.send([ALICE.device_id], b"%03d" % n)
            assert client.state is ClientState.SYNCING
            assert 5 <= len(store.untaken(100, 1 << 20)) <= 6
            assert len(server.sessions) == 1
            assert await take(client, 30) == [b"%03d" % n for n in range(30)]
            await client.wait_state(ClientState.LIVE)
        assert len(server.sessions) > 1
        assert [ack.hist_next for ack in provider.acks][-1] == 30
