"""Prekeys and the queue: what cannot be sealed is refused or waits, and what stands behind it goes on.

Must not know: how a key is checked.
"""

import pytest
import trio
import trio.testing

from noise.protocol.delta import RecipientLists
from noise.protocol.envelope import Bundle
from noise.protocol.errors import Rejected
from noise.protocol.follower import Follower
from noise.protocol.identifiers import format_id
from noise.protocol.prekeys import PrekeyOffer, number_of
from noise.protocol.sealing import PAYLOAD_DATA, sealed_for
from noise_client import LinkError
from noise_client.sending import Outgoing
from tests.client.people import Noting, Person
from tests.client.test_prekeys_of_peers import BAD_OFFERS, Offering, fallback, one_time
from tests.client.tiny_provider import TinyProvider
from tests.vectors.cast import ORIGIN, device_of

ALICE, BOB, CAROL = device_of("alice"), device_of("bob"), device_of("carol")


class Queue:
    """Alice's, with a desk that has keys of carol."""

    def __init__(self, offer: PrekeyOffer, keys_wait_s: float = 0) -> None:
        self.desk = Offering(offer)
        self.desk.add([fallback("carol")])
        self.person = Person("alice", self.desk)
        store = self.person.store
        self.provider = TinyProvider()
        self.outgoing = Outgoing(
            self.person.device,
            store,
            self.person.calls,
            store.load(),
            1 << 20,
            self.person.sealer,
            Noting(),
            keys_wait_s,
        )
        self.follower = Follower(ORIGIN, ALICE, last_counter=lambda _: None)
        delta, _ = self.provider.delta(ALICE, self.follower.cursor, RecipientLists())
        self.follower.adopt(self.follower.check_delta(delta, RecipientLists()))

    async def next(self) -> Bundle:
        return await self.outgoing.next_bundle(self.follower)

    async def accept(self, bundle: Bundle) -> None:
        await self.outgoing.accept(self.follower, bundle, self.provider.submit(bundle))


@pytest.mark.parametrize("name", BAD_OFFERS)
async def test_a_message_without_a_key_is_refused_and_the_queue_goes_on(name: str) -> None:
    offer, code = BAD_OFFERS[name]
    queue = Queue(offer)
    with trio.fail_after(10):
        put = queue.outgoing.put_nowait
        sent = [put([peer], b"x", PAYLOAD_DATA) for peer in (CAROL, BOB, CAROL)]
        group, plain = put([BOB, CAROL], b"x", PAYLOAD_DATA), put([BOB], b"plain", 0)
        await queue.outgoing.store_new()
        bundle = await queue.next()
        assert bundle.count == 1, "what stands before it goes first: order is kept"
        await queue.accept(bundle)
        bundle = await queue.next()
        assert (bundle.count, bundle.first_ctr) == (1, 2)
        with pytest.raises(Rejected) as raised:
            await sent[1].wait_receipt()
        assert raised.value.code == code
        assert format_id(BOB) in raised.value.detail
        await queue.accept(bundle)
        bundle = await queue.next()
        assert bundle.commons == [b"plain"]
        with pytest.raises(Rejected) as raised:
            await group.wait_receipt()
        assert raised.value.code == code
        await queue.accept(bundle)
        assert [(await one.wait_receipt()).epoch for one in (sent[0], sent[2], plain)] == [1, 2, 3]
        assert (queue.outgoing.unsent(), queue.person.store.queued(9, 1 << 20)) == ([], [])


async def test_messages_wait_in_the_queue_while_the_provider_cannot_be_asked() -> None:
    queue = Queue(PrekeyOffer(one_time(1), fallback()))
    with trio.fail_after(10):
        sending = queue.outgoing.put_nowait([BOB], b"x", PAYLOAD_DATA)
        await queue.outgoing.store_new()
        queue.desk.refuses = "unavailable"
        with pytest.raises(LinkError):
            await queue.next()
        assert not sending.has_ended
        queue.desk.refuses = ""
        await queue.accept(await queue.next())
        assert (await sending.wait_receipt()).epoch == 1


async def test_a_message_waits_for_a_recipient_that_is_about_to_publish(
    autojump_clock: trio.testing.MockClock,
) -> None:
    queue = Queue(PrekeyOffer(None, None), keys_wait_s=1e6)
    sending = queue.outgoing.put_nowait([BOB], b"x", PAYLOAD_DATA)
    await queue.outgoing.store_new()
    with trio.move_on_after(60):
        await queue.next()
    assert not sending.has_ended
    queue.desk.offer = PrekeyOffer(None, fallback())
    await queue.accept(await queue.next())
    assert (await sending.wait_receipt()).epoch == 1


async def test_messages_to_one_peer_share_no_one_time_key() -> None:
    """Without a fallback each needs a bundle of its own, with a key of its own."""
    queue = Queue(PrekeyOffer(one_time(1), None))
    used = []
    with trio.fail_after(10):
        for text in (b"x", b"y"):
            queue.outgoing.put_nowait([BOB], text, PAYLOAD_DATA)
        await queue.outgoing.store_new()
        for number in (1, 2):
            queue.desk.offer = PrekeyOffer(one_time(number), None)
            bundle = await queue.next()
            assert bundle.count == 1
            column, size = bundle.ciphertext_columns[0], bundle.rows[0][3]
            place = bundle.recipients[0].device_ids.index(BOB) * size
            used.append(number_of(sealed_for(column[place : place + size])))
            await queue.accept(bundle)
    assert used == [1, 2]
