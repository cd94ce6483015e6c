"""The sending queue: addressing, gathering, freezing, sending again, refusals; without any connection."""

from pathlib import Path
from typing import NoReturn

import pytest
import trio
import trio.testing

from noise.protocol.delta import RecipientLists
from noise.protocol.envelope import open_bundle
from noise.protocol.errors import DecodeError, ProviderMisbehaved, Rejected
from noise.protocol.follower import Follower
from noise.protocol.identifiers import format_id, make_seq
from noise.protocol.limits import MESSAGE_BYTES_MAX, RECIPIENTS_MAX
from noise_client import (
    ClientClosed,
    DeadlineExceeded,
    Device,
    MemoryTrustStore,
    SqliteTrustStore,
    TrustStore,
    create_device_file,
)
from noise_client.prekeys import OwnPrekeys
from noise_client.sealer import Sealer
from noise_client.sending import Outgoing, Sending, address
from noise_client.trust_store import QueuedMessage, StoreCalls
from tests.client.people import Noting
from tests.client.tiny_provider import TinyProvider
from tests.vectors.cast import ORIGIN, device_of, filler, seed_of

ALICE = Device(seed_of("alice"))
BOB, CAROL = device_of("bob"), device_of("carol")
PLAIN = 0


def ids(count: int, label: str = "id") -> tuple[bytes, ...]:
    return tuple(sorted(filler(f"{label} {n}", 32) for n in range(count)))


def open_outgoing(store: TrustStore, bytes_max: int = 1 << 26, watch: Noting | None = None) -> Outgoing:
    """A queue that seals nothing, and so asks nobody for keys."""
    calls = StoreCalls(store)
    sealer = Sealer(ALICE, store, OwnPrekeys(ALICE, store, calls), _no_http, lambda _: b"")
    return Outgoing(ALICE, store, calls, store.load(), bytes_max, sealer, watch or Noting(), 0)


def _no_http() -> NoReturn:
    raise AssertionError("it asks for keys")


def follow(provider: TinyProvider) -> Follower:
    """Alice's follower, who knows the roster."""
    follower = Follower(ORIGIN, ALICE.device_id, last_counter=lambda _: None)
    delta, _ = provider.delta(ALICE.device_id, follower.cursor, RecipientLists())
    follower.adopt(follower.check_delta(delta, RecipientLists()))
    return follower


def test_recipients_are_sorted_unique_and_include_the_sender() -> None:
    expected = tuple(sorted([ALICE.device_id, BOB, CAROL]))
    assert address(ALICE.device_id, [CAROL, BOB, CAROL]) == expected
    assert address(ALICE.device_id, {format_id(BOB), format_id(CAROL), ALICE.device_id}) == expected
    assert address(ALICE.device_id, [ALICE.device_id]) == (ALICE.device_id,)
    assert len(address(ALICE.device_id, ids(RECIPIENTS_MAX - 1))) == RECIPIENTS_MAX


def test_recipients_that_are_none_are_refused() -> None:
    for recipients, code in [
        ([], "no-recipients"),
        ([b"short"], "bad-recipient"),
        (ids(RECIPIENTS_MAX), "too-many-recipients"),
    ]:
        with pytest.raises(Rejected) as refused:
            address(ALICE.device_id, recipients)
        assert refused.value.code == code
    with pytest.raises(DecodeError):
        address(ALICE.device_id, ["not an id"])
    with pytest.raises(Rejected):
        address(ALICE.device_id, BOB)  # type: ignore[arg-type]


async def test_messages_gather_into_one_bundle_in_their_order_and_get_their_receipts() -> None:
    provider = TinyProvider()
    follower = follow(provider)
    outgoing = open_outgoing(MemoryTrustStore(ALICE))
    with trio.fail_after(10):
        texts = [b"%d" % n for n in range(5)]
        sendings = [outgoing.put_nowait([BOB] if n % 2 else [CAROL], text, PLAIN) for n, text in enumerate(texts)]
        assert outgoing.unsent() == sendings
        await outgoing.store_new()
        bundle = await outgoing.next_bundle(follower)
        assert (bundle.commons, bundle.first_ctr, len(bundle.recipients)) == (texts, 1, 2)
        await outgoing.accept(follower, bundle, provider.submit(bundle))
        receipts = [await sending.wait_receipt() for sending in sendings]
    assert [receipt.seq for receipt in receipts] == [make_seq(1, 0, n) for n in range(5)]
    assert {receipt.epoch for receipt in receipts} == {1}
    assert receipts[1].recipients == address(ALICE.device_id, [BOB])
    assert receipts[0].recipients == address(ALICE.device_id, [CAROL])
    assert outgoing.unsent() == []


async def test_what_is_queued_while_a_bundle_is_under_way_becomes_the_next_one() -> None:
    provider = TinyProvider()
    follower = follow(provider)
    outgoing = open_outgoing(MemoryTrustStore(ALICE))
    with trio.fail_after(10):
        outgoing.put_nowait([BOB], b"first", PLAIN)
        await outgoing.store_new()
        first = await outgoing.next_bundle(follower)
        for text in (b"second", b"third"):
            outgoing.put_nowait([BOB], text, PLAIN)
            await outgoing.store_new()
        assert await outgoing.next_bundle(follower) is first
        await outgoing.accept(follower, first, provider.submit(first))
        second = await outgoing.next_bundle(follower)
        assert (second.commons, second.first_ctr) == ([b"second", b"third"], 2)


async def test_a_set_of_recipients_keeps_its_salt_and_another_device_has_another(tmp_path: Path) -> None:
    roots = []
    with trio.fail_after(10):
        for path in (tmp_path / "one", tmp_path / "one", tmp_path / "two"):
            if not path.exists():
                create_device_file(path, ALICE)
            store = SqliteTrustStore(path)
            outgoing = open_outgoing(store)
            outgoing.put_nowait([BOB, CAROL], b"x", PLAIN)
            await outgoing.store_new()
            bundle = await outgoing.next_bundle(follow(TinyProvider()))
            roots.append(bundle.recipients[0].root)
            store.finish(1)
            store.close()
    assert roots[0] == roots[1] != roots[2]


async def test_after_a_restart_the_very_same_bytes_are_sent_again(tmp_path: Path) -> None:
    create_device_file(tmp_path / "alice.device", ALICE)
    provider = TinyProvider()
    sent = []
    with trio.fail_after(10):
        for texts in ([b"one", b"two"], [b"three"]):
            store = SqliteTrustStore(tmp_path / "alice.device")
            outgoing = open_outgoing(store)
            for text in texts:
                outgoing.put_nowait([BOB], text, PLAIN)
            await outgoing.store_new()
            sent.append((await outgoing.next_bundle(follow(provider))).encode())
            store.close()
        assert sent[0] == sent[1]
        assert open_bundle(sent[0], ORIGIN).commons == [b"one", b"two"]

        store = SqliteTrustStore(tmp_path / "alice.device")
        outgoing, follower = open_outgoing(store), follow(provider)
        bundle = await outgoing.next_bundle(follower)
        sendings = outgoing.unsent()
        assert len(sendings) == 3
        await outgoing.accept(follower, bundle, provider.submit(bundle))
        assert (await sendings[1].wait_receipt()).seq == make_seq(1, 0, 1)
        rest = await outgoing.next_bundle(follower)
        assert (rest.commons, rest.first_ctr, outgoing.unsent()) == ([b"three"], 3, sendings[2:])
        store.close()


async def test_a_refused_bundle_leaves_the_queue_and_uses_up_its_counters() -> None:
    provider = TinyProvider()
    follower = follow(provider)
    store, watch = MemoryTrustStore(ALICE), Noting()
    outgoing = open_outgoing(store, watch=watch)
    with trio.fail_after(10):
        refused = [outgoing.put_nowait([BOB], b"no", PLAIN), outgoing.put_nowait([BOB], b"neither", PLAIN)]
        await outgoing.store_new()
        bundle = await outgoing.next_bundle(follower)
        accepted = outgoing.put_nowait([BOB], b"yes", PLAIN)
        await outgoing.store_new()
        await outgoing.refuse(bundle, Rejected("as the test says", code="no-way"))
        for sending in refused:
            with pytest.raises(Rejected, match="as the test says"):
                await sending.wait_receipt()
        bundle = await outgoing.next_bundle(follower)
        assert (bundle.commons, bundle.first_ctr) == ([b"yes"], 3)
        await outgoing.accept(follower, bundle, provider.submit(bundle))
        assert (await accepted.wait_receipt()).seq == make_seq(1, 0, 0)
    assert (store.queued(9, 9), store.load().bundle) == ([], b"")
    assert watch.said == ["sent", "refused", "sent", "receipt"]


async def test_a_receipt_that_proves_nothing_is_misbehaviour_and_changes_nothing() -> None:
    provider = TinyProvider()
    follower = follow(provider)
    store, watch = MemoryTrustStore(ALICE), Noting()
    outgoing = open_outgoing(store, watch=watch)
    with trio.fail_after(10):
        sending = outgoing.put_nowait([BOB], b"x", PLAIN)
        await outgoing.store_new()
        bundle = await outgoing.next_bundle(follower)
        receipt = provider.submit(bundle)
        with pytest.raises(ProviderMisbehaved) as misbehaved:
            await outgoing.accept(follower, bundle, receipt._replace(first_seq=make_seq(1, 0, 1)))
        assert bundle.body in misbehaved.value.evidence
        assert not sending.has_ended
        assert store.load().bundle == bundle.encode()
        assert watch.said == ["sent"]
        await outgoing.accept(follower, bundle, receipt)
        await sending.wait_receipt()


async def test_a_full_queue_refuses_or_waits() -> None:
    provider = TinyProvider()
    follower = follow(provider)
    one = QueuedMessage(address(ALICE.device_id, [BOB]), bytes(100), 0).kept_bytes
    outgoing = open_outgoing(MemoryTrustStore(ALICE), bytes_max=2 * one)
    waiting: list[Sending] = []

    async def put() -> None:
        waiting.append(await outgoing.put([BOB], bytes(100), PLAIN))

    with trio.fail_after(10):
        await outgoing.put([BOB], bytes(100), PLAIN)
        await outgoing.put([BOB], bytes(100), PLAIN)
        with pytest.raises(Rejected) as refused:
            outgoing.put_nowait([BOB], bytes(100), PLAIN)
        assert refused.value.code == "queue-full"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(put)
            await trio.testing.wait_all_tasks_blocked()
            assert waiting == []
            await outgoing.store_new()
            bundle = await outgoing.next_bundle(follower)
            await outgoing.accept(follower, bundle, provider.submit(bundle))
        assert outgoing.unsent() == waiting


async def test_a_message_larger_than_the_queue_goes_through_an_empty_one() -> None:
    outgoing = open_outgoing(MemoryTrustStore(ALICE), bytes_max=10)
    outgoing.put_nowait([BOB], bytes(100), PLAIN)
    with pytest.raises(Rejected):
        outgoing.put_nowait([BOB], b"", PLAIN)


async def test_messages_that_are_too_large_are_refused_at_once() -> None:
    outgoing = open_outgoing(MemoryTrustStore(ALICE))
    with pytest.raises(Rejected) as refused:
        outgoing.put_nowait([BOB], bytes(MESSAGE_BYTES_MAX + 1), PLAIN)
    assert refused.value.code == "message-too-large"
    outgoing.put_nowait([BOB], bytes(MESSAGE_BYTES_MAX), PLAIN)


async def test_storing_runs_until_it_is_cancelled_and_wakes_who_waits() -> None:
    store = MemoryTrustStore(ALICE)
    outgoing = open_outgoing(store)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outgoing.run_storing)
            for text in (b"one", b"two"):
                await outgoing.put_nowait([BOB], text, PLAIN).wait_stored()
            nursery.cancel_scope.cancel()
    assert [message.data for message in store.queued(9, 1 << 20)] == [b"one", b"two"]


async def test_the_end_reaches_everybody_who_waits_or_comes_later(autojump_clock: trio.testing.MockClock) -> None:
    outgoing = open_outgoing(MemoryTrustStore(ALICE))
    stored = outgoing.put_nowait([BOB], b"stored", PLAIN)
    await outgoing.store_new()
    new = outgoing.put_nowait([BOB], b"new", PLAIN)
    with pytest.raises(DeadlineExceeded, match="within 3 s"):
        await new.wait_stored(deadline_s=3)
    with pytest.raises(DeadlineExceeded):
        await stored.wait_receipt(deadline_s=3)
    outgoing.fail(ClientClosed("the end"))
    await stored.wait_stored()
    for wait in (new.wait_stored, new.wait_receipt, stored.wait_receipt):
        with pytest.raises(ClientClosed, match="the end"):
            await wait()
    with pytest.raises(ClientClosed):
        outgoing.put_nowait([BOB], b"late", PLAIN)
