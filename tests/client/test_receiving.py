"""What is verified is stored, then yielded, then acknowledged: without any connection."""

from pathlib import Path

import pytest
import trio
import trio.testing

from noise.protocol.delta import RecipientLists
from noise.protocol.envelope import Bundle
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.frames import ACK_BODY, AckBody, AckFrame
from noise.protocol.trust import NOTHING
from noise_client import (
    ClientClosed,
    DeadlineExceeded,
    Device,
    LinkError,
    MemoryTrustStore,
    SqliteTrustStore,
    TrustStore,
    TrustStoreError,
    create_device_file,
)
from noise_client.receiving import Incoming
from noise_client.retention import DEFAULT_POLICY
from noise_client.sealer import Opened
from noise_client.trust_store import Seal, StoreCalls
from noise_client.witness import Witness
from tests.client.tiny_provider import TinyProvider
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, bundle_of, draft_of, recipients_of, seed_of

BOB = Device(seed_of("bob"))


def open_incoming(store: TrustStore, origin: bytes | None = None, backlog_bytes_max: int = 1 << 26) -> Incoming:
    """It opens nothing that is sealed."""
    kept = store.load()
    return Incoming(
        BOB,
        store,
        StoreCalls(store),
        kept,
        origin=kept.origin or origin,
        backlog_bytes_max=backlog_bytes_max,
        open_sealed=lambda _, delivery: Opened(Seal.NONE, 0, delivery.common),
        make_witness=lambda of, trusted: Witness(store, BOB.device_id, of, trusted, DEFAULT_POLICY, time_ms=lambda: 7),
        on_heard=lambda: None,
    )


def texts(count: int, first_ctr: int = 1) -> Bundle:
    """A bundle from alice to bob."""
    drafts = [draft_of(recipients_of("alice", "bob"), b"%d" % n) for n in range(first_ctr, first_ctr + count)]
    return bundle_of("alice", drafts, first_ctr)


async def catch_up(incoming: Incoming, provider: TinyProvider, records_max: int = 2**32) -> bool:
    """One delta, as the first of a new connection."""
    follower = incoming.follow(ORIGIN)
    delta, _ = provider.delta(BOB.device_id, follower.cursor, RecipientLists(), records_max)
    return await incoming.accept(follower, delta, RecipientLists())


async def ack_of(incoming: Incoming) -> tuple[int, int] | None:
    """(epoch, hist_next) of the ack that is owed, which is sent herewith."""
    if not incoming.owes_ack:
        return None
    sent: list[AckFrame] = []

    async def send(frame: AckFrame) -> None:
        sent.append(frame)

    assert incoming.follower is not None
    await incoming.acknowledge(incoming.follower, send)
    body: AckBody = ACK_BODY.decode(sent[0].body)
    return body.epoch, body.hist_next


async def test_a_delta_is_verified_stored_and_yielded() -> None:
    provider, store = TinyProvider(), MemoryTrustStore(BOB)
    incoming = open_incoming(store)
    bundle = texts(3)
    receipt = provider.submit(bundle)
    with trio.fail_after(10):
        assert await catch_up(incoming, provider)
        assert store.load().origin == ORIGIN
        got = [await incoming.next(5) for _ in range(3)]
    assert [one.data for one in got] == [b"1", b"2", b"3"]
    assert got[0].seq == receipt.first_seq
    assert {(one.sender, one.epoch, one.recipients) for one in got} == {
        (bundle.sender, 1, bundle.recipients[0].device_ids)
    }


async def test_pages_lead_to_the_end_of_the_history_step_by_step() -> None:
    provider, incoming = TinyProvider(), open_incoming(MemoryTrustStore(BOB))
    for n in range(5):
        provider.submit(texts(1, n + 1))
    with trio.fail_after(10):
        assert [await catch_up(incoming, provider, 2) for _ in range(3)] == [False, False, True]
        assert [(await incoming.next(5)).data for _ in range(5)] == [b"%d" % n for n in range(1, 6)]


async def test_what_was_not_taken_comes_again_after_a_restart(tmp_path: Path) -> None:
    create_device_file(tmp_path / "bob.device", BOB)
    provider = TinyProvider()
    provider.submit(texts(4))
    got = []
    with trio.fail_after(10):
        for take_count in (2, 0, 3):
            store = SqliteTrustStore(tmp_path / "bob.device")
            incoming = open_incoming(store)
            if provider.epoch == 1:
                await catch_up(incoming, provider)
                provider.commit([])
            got.append([(await incoming.next(5)).data for _ in range(take_count)])
            store.close()
    assert got == [[b"1", b"2"], [], [b"2", b"3", b"4"]]


async def test_the_last_one_is_taken_when_the_application_says_so(tmp_path: Path) -> None:
    create_device_file(tmp_path / "bob.device", BOB)
    provider = TinyProvider()
    provider.submit(texts(2))
    with trio.fail_after(10):
        store = SqliteTrustStore(tmp_path / "bob.device")
        incoming = open_incoming(store)
        await catch_up(incoming, provider)
        await incoming.next(5)
        await incoming.take_last()
        await incoming.take_last()
        store.close()
        store = SqliteTrustStore(tmp_path / "bob.device")
        assert (await open_incoming(store).next(5)).data == b"2"
        store.close()


async def test_acknowledgements_follow_what_was_taken() -> None:
    provider, store = TinyProvider(), MemoryTrustStore(BOB)
    incoming = open_incoming(store)
    with trio.fail_after(10):
        for n in range(2):
            provider.submit(texts(2, 2 * n + 1))
            await catch_up(incoming, provider)
        owed = []
        for _ in range(4):
            await incoming.next(5)
            owed.append(await ack_of(incoming))
        await incoming.take_last()
        owed.append(await ack_of(incoming))
    assert owed == [None, None, (1, 1), None, (2, 2)]


async def test_after_a_restart_all_that_was_taken_is_acknowledged_once_more() -> None:
    provider, store = TinyProvider(), MemoryTrustStore(BOB)
    provider.submit(texts(2))
    with trio.fail_after(10):
        incoming = open_incoming(store)
        assert await ack_of(incoming) is None
        await catch_up(incoming, provider)
        incoming = open_incoming(store)
        await incoming.next(5)
        assert await ack_of(incoming) is None
        await incoming.next(5)
        await incoming.take_last()
        assert await ack_of(incoming) == (1, 1)
        assert await ack_of(incoming) is None
        assert await ack_of(open_incoming(store)) == (1, 1)


async def test_what_could_not_be_acknowledged_stays_owed_and_so_it_does_on_a_new_connection() -> None:
    provider, incoming = TinyProvider(), open_incoming(MemoryTrustStore(BOB))
    provider.submit(texts(1))

    async def break_off(_: AckFrame) -> None:
        raise LinkError("as the test says")

    with trio.fail_after(10):
        await catch_up(incoming, provider)
        await incoming.next(5)
        await incoming.take_last()
        with pytest.raises(LinkError):
            await incoming.acknowledge(incoming.follow(ORIGIN), break_off)
        assert await ack_of(incoming) == (1, 1)
        assert await ack_of(incoming) is None
        incoming.follow(ORIGIN)
        assert await ack_of(incoming) == (1, 1)


async def test_a_false_delta_changes_nothing() -> None:
    provider, store = TinyProvider(), MemoryTrustStore(BOB)
    incoming = open_incoming(store)
    provider.submit(texts(1))
    follower = incoming.follow(ORIGIN)
    delta, _ = provider.delta(BOB.device_id, follower.cursor, RecipientLists())
    with trio.fail_after(10):
        with pytest.raises(ProviderMisbehaved):
            await incoming.accept(follower, delta._replace(log_hashes=()), RecipientLists())
        assert (store.load().origin, store.load().trusted, follower.trusted) == (None, b"", NOTHING)
        assert await incoming.accept(follower, delta, RecipientLists())


async def test_what_could_not_be_stored_is_not_trusted() -> None:
    class Full(MemoryTrustStore):
        def save_step(self, *_: object) -> None:  # type: ignore[override]
            raise TrustStoreError("the disk is full")

    provider, incoming = TinyProvider(), open_incoming(Full(BOB))
    provider.submit(texts(1))
    with trio.fail_after(10), pytest.raises(TrustStoreError):
        await catch_up(incoming, provider)
    assert incoming.follow(ORIGIN).trusted == NOTHING
    assert incoming.origin is None
    assert not incoming.owes_ack


async def test_a_heartbeat_that_says_nothing_new_is_not_written() -> None:
    class Counting(MemoryTrustStore):
        steps = 0

        def save_step(self, *arguments: object) -> None:  # type: ignore[override]
            self.steps += 1
            super().save_step(*arguments)  # type: ignore[arg-type]

    provider, store = TinyProvider(), Counting(BOB)
    incoming = open_incoming(store)
    with trio.fail_after(10):
        for _ in range(3):
            assert await catch_up(incoming, provider)
        assert store.steps == 1
        provider.commit([])
        assert await catch_up(incoming, provider)
        assert store.steps == 2


async def test_only_the_first_provider_that_proves_itself_is_pinned() -> None:
    incoming = open_incoming(MemoryTrustStore(BOB))
    incoming.follow(OTHER_ORIGIN)
    with trio.fail_after(10):
        await catch_up(incoming, TinyProvider())
    with pytest.raises(LinkError) as refused:
        incoming.follow(OTHER_ORIGIN)
    assert (refused.value.code, refused.value.is_final) == ("wrong-origin", True)


async def test_an_origin_that_was_given_is_pinned_from_the_beginning() -> None:
    incoming = open_incoming(MemoryTrustStore(BOB), origin=OTHER_ORIGIN)
    with pytest.raises(LinkError):
        incoming.follow(ORIGIN)


async def test_the_backlog_knows_when_it_is_full_and_when_it_is_half_empty() -> None:
    provider, store = TinyProvider(), MemoryTrustStore(BOB)
    provider.submit(texts(4))
    size = 256 + 2 * 32 + 1
    incoming = open_incoming(store, backlog_bytes_max=4 * size)
    with trio.fail_after(10):
        await catch_up(incoming, provider)
        seen = []
        for _ in range(4):
            seen.append((incoming.is_full, incoming.is_half_empty))
            await incoming.next(5)
            await incoming.take_last()
        assert seen == [(True, False), (False, False), (False, True), (False, True)]
        assert open_incoming(store, backlog_bytes_max=1).is_full is False


async def test_waiting_for_a_delivery_has_a_deadline_and_one_task(autojump_clock: trio.testing.MockClock) -> None:
    incoming = open_incoming(MemoryTrustStore(BOB))
    with pytest.raises(DeadlineExceeded):
        await incoming.next(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(incoming.next, 3)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await incoming.next(3)
        nursery.cancel_scope.cancel()


async def test_the_end_comes_after_all_that_was_verified() -> None:
    provider, incoming = TinyProvider(), open_incoming(MemoryTrustStore(BOB))
    provider.submit(texts(1))
    with trio.fail_after(10):
        await catch_up(incoming, provider)
        incoming.fail(ClientClosed("the end"))
        assert (await incoming.next(5)).data == b"1"
        with pytest.raises(ClientClosed):
            await incoming.next(5)
