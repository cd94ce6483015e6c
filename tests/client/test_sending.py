"""The sending queue: addressing, gathering, freezing, sending again, refusals; without any connection."""

from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.delta import RecipientLists
from noise.protocol.envelope import Draft, Recipients, RecipientSet, build_bundle, open_bundle
from noise.protocol.errors import DecodeError, ProviderMisbehaved, Rejected
from noise.protocol.follower import Follower
from noise.protocol.identifiers import format_id, make_seq
from noise.protocol.limits import BUNDLE_BYTES_MAX, BUNDLE_MESSAGES_MAX, MESSAGE_BYTES_MAX, RECIPIENTS_MAX
from noise_client import (
    ClientClosed,
    DeadlineExceeded,
    Device,
    MemoryTrustStore,
    SqliteTrustStore,
    TrustStore,
    create_device_file,
)
from noise_client.sending import Outgoing, Sending, address, count_fitting
from noise_client.trust_store import QueuedMessage, StoreCalls
from tests.client.tiny_provider import TinyProvider
from tests.vectors.cast import ORIGIN, device_of, filler, seed_of

ALICE = Device(seed_of("alice"))
BOB, CAROL = device_of("bob"), device_of("carol")


def ids(count: int, label: str = "id") -> tuple[bytes, ...]:
    return tuple(sorted(filler(f"{label} {n}", 32) for n in range(count)))


def open_outgoing(store: TrustStore, bytes_max: int = 1 << 26) -> Outgoing:
    return Outgoing(ALICE, store, StoreCalls(store), store.load(), bytes_max)


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


MESSAGES = st.lists(
    st.builds(
        QueuedMessage,
        st.sampled_from([(ALICE.device_id,), *[address(ALICE.device_id, ids(n)) for n in (1, 3, 700, 1023)]]),
        st.builds(bytes, st.sampled_from([0, 1, 300, 60_000, MESSAGE_BYTES_MAX])),
        st.integers(0, 2**64 - 1),
    ),
    min_size=1,
    max_size=40,
)


def bundle_bytes(messages: list[QueuedMessage]) -> int:
    sets = {m.recipients: Recipients(RecipientSet(bytes(16), m.recipients)) for m in messages}
    drafts = [Draft(sets[m.recipients], m.data, (), m.created_ms) for m in messages]
    return len(build_bundle(ALICE.signer, ORIGIN, 1, drafts).encode())


@given(MESSAGES)
@settings(max_examples=30)
def test_as_many_messages_as_fit_go_into_a_bundle(messages: list[QueuedMessage]) -> None:
    count = count_fitting(messages)
    assert 1 <= count <= len(messages)
    assert bundle_bytes(messages[:count]) <= BUNDLE_BYTES_MAX
    if count < len(messages):
        assert bundle_bytes(messages[: count + 1]) > BUNDLE_BYTES_MAX


def test_recipients_count_as_much_as_text() -> None:
    messages = [QueuedMessage(address(ALICE.device_id, ids(1023, str(n))), b"", 0) for n in range(40)]
    messages += [QueuedMessage(messages[0].recipients, b"", 0)] * 100
    assert count_fitting(messages) == 31
    assert bundle_bytes(messages[:31]) <= BUNDLE_BYTES_MAX < bundle_bytes(messages[:32])
    assert count_fitting(messages[40:]) == 100


def test_a_bundle_has_a_limited_number_of_messages() -> None:
    messages = [QueuedMessage((ALICE.device_id,), b"", 0)] * (BUNDLE_MESSAGES_MAX + 1)
    assert count_fitting(messages) == BUNDLE_MESSAGES_MAX


async def test_messages_gather_into_one_bundle_in_their_order_and_get_their_receipts() -> None:
    provider = TinyProvider()
    follower = follow(provider)
    outgoing = open_outgoing(MemoryTrustStore(ALICE))
    with trio.fail_after(10):
        texts = [b"%d" % n for n in range(5)]
        sendings = [outgoing.put_nowait([BOB] if n % 2 else [CAROL], text) for n, text in enumerate(texts)]
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
        outgoing.put_nowait([BOB], b"first")
        await outgoing.store_new()
        first = await outgoing.next_bundle(follower)
        for text in (b"second", b"third"):
            outgoing.put_nowait([BOB], text)
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
            outgoing.put_nowait([BOB, CAROL], b"x")
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
                outgoing.put_nowait([BOB], text)
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
    store = MemoryTrustStore(ALICE)
    outgoing = open_outgoing(store)
    with trio.fail_after(10):
        refused = [outgoing.put_nowait([BOB], b"no"), outgoing.put_nowait([BOB], b"neither")]
        await outgoing.store_new()
        bundle = await outgoing.next_bundle(follower)
        accepted = outgoing.put_nowait([BOB], b"yes")
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


async def test_a_receipt_that_proves_nothing_is_misbehaviour_and_changes_nothing() -> None:
    provider = TinyProvider()
    follower = follow(provider)
    store = MemoryTrustStore(ALICE)
    outgoing = open_outgoing(store)
    with trio.fail_after(10):
        sending = outgoing.put_nowait([BOB], b"x")
        await outgoing.store_new()
        bundle = await outgoing.next_bundle(follower)
        receipt = provider.submit(bundle)
        with pytest.raises(ProviderMisbehaved) as misbehaved:
            await outgoing.accept(follower, bundle, receipt._replace(first_seq=make_seq(1, 0, 1)))
        assert bundle.body in misbehaved.value.evidence
        assert not sending.has_ended
        assert store.load().bundle == bundle.encode()
        await outgoing.accept(follower, bundle, receipt)
        await sending.wait_receipt()


async def test_a_full_queue_refuses_or_waits() -> None:
    provider = TinyProvider()
    follower = follow(provider)
    one = QueuedMessage(address(ALICE.device_id, [BOB]), bytes(100), 0).kept_bytes
    outgoing = open_outgoing(MemoryTrustStore(ALICE), bytes_max=2 * one)
    waiting: list[Sending] = []

    async def put() -> None:
        waiting.append(await outgoing.put([BOB], bytes(100)))

    with trio.fail_after(10):
        await outgoing.put([BOB], bytes(100))
        await outgoing.put([BOB], bytes(100))
        with pytest.raises(Rejected) as refused:
            outgoing.put_nowait([BOB], bytes(100))
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
    outgoing.put_nowait([BOB], bytes(100))
    with pytest.raises(Rejected):
        outgoing.put_nowait([BOB], b"")


async def test_messages_that_are_too_large_are_refused_at_once() -> None:
    outgoing = open_outgoing(MemoryTrustStore(ALICE))
    with pytest.raises(Rejected) as refused:
        outgoing.put_nowait([BOB], bytes(MESSAGE_BYTES_MAX + 1))
    assert refused.value.code == "message-too-large"
    outgoing.put_nowait([BOB], bytes(MESSAGE_BYTES_MAX))


async def test_storing_runs_until_it_is_cancelled_and_wakes_who_waits() -> None:
    store = MemoryTrustStore(ALICE)
    outgoing = open_outgoing(store)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outgoing.run_storing)
            for text in (b"one", b"two"):
                await outgoing.put_nowait([BOB], text).wait_stored()
            nursery.cancel_scope.cancel()
    assert [message.data for message in store.queued(9, 1 << 20)] == [b"one", b"two"]


async def test_the_end_reaches_everybody_who_waits_or_comes_later(autojump_clock: trio.testing.MockClock) -> None:
    outgoing = open_outgoing(MemoryTrustStore(ALICE))
    stored = outgoing.put_nowait([BOB], b"stored")
    await outgoing.store_new()
    new = outgoing.put_nowait([BOB], b"new")
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
        outgoing.put_nowait([BOB], b"late")
