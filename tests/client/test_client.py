"""A client over real sockets: what an application sees, whatever happens."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
import trio.testing

from noise.protocol.push_session import CloseCode
from noise_client import (
    ClientClosed,
    ClientState,
    DeadlineExceeded,
    LinkError,
    MemoryTrustStore,
    NoiseError,
    TrustStoreError,
    create_device_file,
    open_client,
)
from noise_client.verdicts import Verdict
from tests.client.devices import ALICE, BOB, NOBODY, QUICK, take
from tests.client.scripted import Provider, Session, answer_nothing, in_time, serving
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, bundle_of, draft_of, recipients_of


@in_time
async def test_two_clients_talk_to_each_other() -> None:
    provider = Provider()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(provider.serve))
        alice = await stack.enter_async_context(open_client(server.url, ALICE, settings=QUICK))
        bob = await stack.enter_async_context(open_client(server.url, BOB, settings=QUICK))
        receipt = await alice.send([BOB.device_id], b"hello")
        for client in (bob, alice):
            async for delivery in client.deliveries():
                assert (delivery.seq, delivery.epoch) == (receipt.seq, receipt.epoch)
                assert (delivery.sender, delivery.data) == (ALICE.device_id, b"hello")
                assert delivery.recipients == receipt.recipients
                break
        await bob.send([ALICE.device_id], b"hello yourself")
        assert await take(alice, 1) == [b"hello yourself"]
        assert (alice.origin, bob.origin, alice.device_id) == (ORIGIN, ORIGIN, ALICE.device_id)


@in_time
async def test_sends_at_one_time_are_gathered() -> None:
    provider = Provider()
    async with serving(provider.serve) as server, open_client(server.url, ALICE, settings=QUICK) as client:
        await client.wait_state(ClientState.LIVE)
        async with trio.open_nursery() as nursery:
            for n in range(300):
                nursery.start_soon(client.send, [BOB.device_id], b"%d" % n)
        assert sorted(await take(client, 300)) == sorted(b"%d" % n for n in range(300))
    assert len(provider.bundles) <= 3


@in_time
async def test_messages_arrive_in_the_order_in_which_they_were_queued() -> None:
    provider = Provider()
    async with serving(provider.serve) as server, open_client(server.url, ALICE, settings=QUICK) as client:
        sendings = [await client.send_soon([BOB.device_id], b"%d" % n) for n in range(600)]
        receipts = [await sending.wait_receipt() for sending in sendings]
        assert [receipt.seq for receipt in receipts] == sorted(receipt.seq for receipt in receipts)
        assert await take(client, 600) == [b"%d" % n for n in range(600)]


@in_time
async def test_states_pass_in_order() -> None:
    provider = Provider()
    for n in range(3):
        drafts = [draft_of(recipients_of("alice", "bob"), b"x")]
        provider.tiny.submit(bundle_of("alice", drafts, n + 1))

    async def script(session: Session) -> None:
        await session.let_in()
        for _ in range(3):
            await session.send_delta(provider.tiny, records_max=1)
        await session.receive()

    async with serving(script) as server:
        async with open_client(server.url, BOB, settings=QUICK) as client:
            states = client.states()
            await client.wait_state(ClientState.LIVE)
        assert [state.value async for state in states] == ["connecting", "syncing", "live", "closed"]


@in_time
async def test_a_provider_that_says_it_went_back_is_suspected_but_not_accused() -> None:
    """A close code is nobody's signature: a proxy could send it. So nothing ends, and nothing is proven."""
    provider = Provider()
    provider.tiny.commit([])
    store = MemoryTrustStore(ALICE)

    async def script(session: Session) -> None:
        await session.let_in()
        if session.number in (1, 2):
            await session.end(CloseCode.CURSOR_AHEAD)
        await session.send_delta(provider.tiny)
        await session.receive()

    asked: list[str] = []

    def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        asked.append(path)
        return answer_nothing(method, path, body)

    async with serving(script, answer=answer) as server:
        async with open_client(server.url, ALICE, store=store, settings=QUICK) as client:
            await client.wait_state(ClientState.LIVE)
        async with open_client(server.url, ALICE, store=store, settings=QUICK) as client:
            states, verdicts = client.states(), client.verdicts()
            provider.tiny.commit([])
            await client.wait_state(ClientState.LIVE)
            assert client.failure is None
            assert client.last_problem is not None
            assert client.last_problem.close_code == CloseCode.CURSOR_AHEAD
        assert [state.value async for state in states].count("backoff") == 2
        judgements = [judgement async for judgement in verdicts]
    assert [judgement.verdict for judgement in judgements] == [Verdict.OK, Verdict.SUSPECTED, Verdict.OK]
    assert [reason.code for reason in judgements[1].reasons] == ["log-behind"]
    assert "/v1/log/records/1" in asked, "it did not look for itself"
    assert (store.offences(), store.proofs()) == ([], [])


@in_time
async def test_another_provider_is_refused() -> None:
    async def script(session: Session) -> None:
        await session.let_in(OTHER_ORIGIN)
        pytest.fail("the device has proved itself to another provider")

    async with serving(script) as server, open_client(server.url, ALICE, origin=ORIGIN, settings=QUICK) as client:
        with pytest.raises(LinkError) as refused:
            await take(client, 1)
        assert (refused.value.code, refused.value.is_final) == ("wrong-origin", True)


@in_time
async def test_a_pinned_device_takes_no_other_origin() -> None:
    provider, store = Provider(), MemoryTrustStore(ALICE)
    async with serving(provider.serve) as server:
        async with open_client(server.url, ALICE, store=store, settings=QUICK) as client:
            await client.wait_state(ClientState.LIVE)
        with pytest.raises(TrustStoreError) as refused:
            async with open_client(server.url, ALICE, store=store, origin=OTHER_ORIGIN):
                pass
        assert refused.value.code == "wrong-origin"
        async with open_client(server.url, ALICE, store=store, origin=ORIGIN, settings=QUICK) as client:
            await client.wait_state(ClientState.LIVE)


@in_time
async def test_a_store_belongs_to_its_device() -> None:
    with pytest.raises(TrustStoreError) as refused:
        async with open_client(NOBODY, ALICE, store=MemoryTrustStore(BOB)):
            pass
    assert refused.value.code == "wrong-device"


@in_time
async def test_what_is_queued_without_a_provider_is_sent_by_a_later_process(tmp_path: Path) -> None:
    path = tmp_path / "alice.device"
    create_device_file(path, ALICE)
    async with open_client(NOBODY, path, settings=QUICK) as client:
        sending = await client.enqueue([BOB.device_id], b"one")
        with pytest.raises(DeadlineExceeded):
            await client.send([BOB.device_id], b"two", deadline_s=0.05)
        await client.wait_state(ClientState.BACKOFF)
        assert client.last_problem is not None
        assert client.last_problem.code == "unreachable"
        await client.send_soon([BOB.device_id], b"three")
    with pytest.raises(ClientClosed):
        await sending.wait_receipt()
    with pytest.raises(ClientClosed):
        await client.send_soon([BOB.device_id], b"four")

    provider = Provider()
    async with serving(provider.serve) as server, open_client(server.url, path, settings=QUICK) as client:
        receipts = [await sending.wait_receipt() for sending in client.unsent()]
        assert len(receipts) == 3
        assert await take(client, 3) == [b"one", b"two", b"three"]
    assert len(provider.bundles) == 1


@in_time
async def test_a_delivery_that_was_in_hand_at_an_exception_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "bob.device"
    create_device_file(path, BOB)
    provider = Provider()
    drafts = [draft_of(recipients_of("alice", "bob"), b"%d" % n) for n in range(3)]
    provider.tiny.submit(bundle_of("alice", drafts, 1))
    async with serving(provider.serve) as server:
        with pytest.raises(KeyError):
            async with open_client(server.url, path, settings=QUICK) as client:
                assert await take(client, 2) == [b"0", b"1"]
                raise KeyError
        async with open_client(server.url, path, settings=QUICK) as client:
            assert await take(client, 1) == [b"1"]
        async with open_client(server.url, path, settings=QUICK) as client:
            assert await take(client, 1) == [b"2"]


@in_time
async def test_exceptions_and_cancellations_leave_the_block_as_they_are() -> None:
    provider = Provider()
    async with serving(provider.serve) as server:
        error = KeyError("as the test says")
        error.__cause__ = ValueError("why")
        with pytest.raises(KeyError) as raised:
            async with open_client(server.url, ALICE, settings=QUICK) as client:
                await client.wait_state(ClientState.LIVE)
                raise error
        assert raised.value is error
        assert isinstance(error.__cause__, ValueError)
        with trio.CancelScope() as scope:
            async with open_client(server.url, ALICE, settings=QUICK) as client:
                await client.wait_state(ClientState.LIVE)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert client.state is ClientState.CLOSED


@in_time
async def test_waiting_for_a_state_has_a_deadline_and_an_end() -> None:
    async with open_client(NOBODY, ALICE, settings=QUICK) as client:
        assert await client.wait_state(client.state) is client.state
        with pytest.raises(DeadlineExceeded, match="live"):
            await client.wait_state(ClientState.LIVE, deadline_s=0.02)
    with pytest.raises(ClientClosed):
        await client.wait_state(ClientState.LIVE)


@in_time
async def test_wrong_arguments_are_refused_before_anything_happens(tmp_path: Path) -> None:
    with pytest.raises(NoiseError, match="not a provider's URL"):
        async with open_client("nonsense", ALICE):
            pass
    with pytest.raises(TrustStoreError, match="noise-client new"):
        async with open_client(NOBODY, tmp_path / "missing"):
            pass
    with pytest.raises(TypeError):
        async with open_client(NOBODY, tmp_path / "missing", store=MemoryTrustStore(ALICE)):
            pass
