"""What one device seals, the others open, and nobody mistakes for anything else; and how much of it fits a bundle."""

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle, open_bundle
from noise.protocol.errors import NoiseError, Rejected, SignatureError
from noise.protocol.gossip import VIEW, CompactCheckpoint, View
from noise.protocol.identifiers import format_id
from noise.protocol.limits import (
    BUNDLE_BYTES_MAX,
    BUNDLE_CIPHERTEXTS_MAX,
    BUNDLE_MESSAGES_MAX,
    BUNDLE_RECIPIENT_IDS_MAX,
    MESSAGE_BYTES_MAX,
)
from noise.protocol.pair_chain import Cut
from noise.protocol.sealing import (
    BOX_OVERHEAD_BYTES,
    COMMON_OVERHEAD_BYTES,
    PAYLOAD_BODY_BYTES_MAX,
    PAYLOAD_DATA,
    PAYLOAD_GOSSIP,
)
from noise_client.sealer import GOSSIP_BYTES, GOSSIP_RECIPIENTS_MAX, Opened, count_fitting, refusal_of
from noise_client.sending import address
from noise_client.trust_store import QueuedMessage, Seal
from tests.client.devices import ALICE
from tests.client.people import Person
from tests.client.prekey_desk import FALLBACK, ONE_TIME, PrekeyDesk, prekey_of
from tests.client.tiny_provider import TinyProvider
from tests.vectors.cast import ORIGIN, bundle_of, device_of, draft_of, filler, recipients_of

UNREADABLE = Opened(Seal.UNREADABLE, 0, b"")


class Room:
    """Alice, who sends, and others, whose keys she can have."""

    def __init__(self, *names: str) -> None:
        self.desk = PrekeyDesk()
        self.alice = Person("alice", self.desk)
        self.others = {name: Person(name, self.desk) for name in names}

    async def publish(self) -> None:
        for person in self.others.values():
            await person.publish()

    async def bundle(self, *messages: QueuedMessage) -> Bundle:
        """As the queue makes it."""
        assert await self.alice.sealer.prepare(ORIGIN, messages) == {}
        told: set[bytes] = set()
        drafts = []
        for n, message in enumerate(messages):
            recipients = Recipients(RecipientSet(filler("salt", 16), message.recipients))
            drafts.append(self.alice.sealer.draft(ORIGIN, n + 1, recipients, message, told))
        return build_bundle(ALICE.signer, ORIGIN, 1, drafts)


def to(*names: str, data: bytes = b"hello", kind: int = PAYLOAD_DATA) -> QueuedMessage:
    return QueuedMessage(address(ALICE.device_id, [device_of(name) for name in names]), data, 7, kind)


async def test_what_is_sealed_is_opened_by_every_recipient_and_by_its_sender() -> None:
    with trio.fail_after(10):
        room = Room("bob", "carol")
        await room.publish()
        room.alice.gossip = b"alice's view"
        bundle = await room.bundle(to("bob", "carol"))
        assert b"hello" not in bundle.encode()
        assert len({len(ciphertext) for ciphertext in ciphertexts_of(bundle)}) == 1
        for person in (*room.others.values(), room.alice):
            [delivery] = person.receive(TinyProvider(), bundle)
            opened = person.sealer.open(ORIGIN, delivery)
            assert opened[:3] == (Seal.OPENED, PAYLOAD_DATA, b"hello")
            if person is room.alice:
                assert (opened.gossip, opened.spent) == (b"", b"")
            else:
                assert opened.gossip == b"alice's view"
                kept = person.store.prekey(opened.spent)
                assert kept is not None
                assert kept.kind == ONE_TIME


def ciphertexts_of(bundle: Bundle) -> list[bytes]:
    """Of its first message."""
    column, size = bundle.ciphertext_columns[0], bundle.rows[0][3]
    return [column[i : i + size] for i in range(0, len(column), size)]


async def test_in_one_bundle_a_one_time_key_serves_once_and_our_view_is_told_once() -> None:
    with trio.fail_after(10):
        room = Room("bob", "carol")
        await room.publish()
        room.alice.gossip = b"view"
        bundle = await room.bundle(to("bob"), to("bob", "carol", data=b"both"), to("carol", data=b"gossip", kind=2))
        bob, carol = room.others.values()
        opened = [bob.sealer.open(ORIGIN, delivery) for delivery in bob.receive(TinyProvider(), bundle)]
        assert [(one.kind, one.data, one.gossip) for one in opened] == [
            (PAYLOAD_DATA, b"hello", b"view"),
            (PAYLOAD_DATA, b"both", b""),
        ]
        assert [bool(one.spent) for one in opened] == [True, False]
        opened = [carol.sealer.open(ORIGIN, delivery) for delivery in carol.receive(TinyProvider(), bundle)]
        assert [(one.kind, one.data, one.gossip) for one in opened] == [
            (PAYLOAD_DATA, b"both", b"view"),
            (PAYLOAD_GOSSIP, b"gossip", b""),
        ]


@pytest.mark.parametrize("n_recipients", [GOSSIP_RECIPIENTS_MAX, GOSSIP_RECIPIENTS_MAX + 1])
async def test_large_sets_carry_no_gossip(n_recipients: int) -> None:
    with trio.fail_after(10):
        room = Room("bob")
        await room.publish()
        names = [f"member {n}" for n in range(n_recipients - 2)]
        for name in names:
            room.desk.add([prekey_of(name, 1, FALLBACK, filler(name, 31) + b"\0")])
        room.alice.gossip = b"view"
        bundle = await room.bundle(to("bob", *names))
        [bob] = room.others.values()
        [delivery] = bob.receive(TinyProvider(), bundle)
        told = b"view" if n_recipients <= GOSSIP_RECIPIENTS_MAX else b""
        assert bob.sealer.open(ORIGIN, delivery).gossip == told
        assert bundle.rows[0][3] == BOX_OVERHEAD_BYTES + len(told)


async def test_whoever_was_told_nothing_is_told_with_the_next_message() -> None:
    """A set too large for gossip, or nothing to tell yet: neither counts as told."""
    with trio.fail_after(10):
        room = Room("bob", "carol")
        await room.publish()
        names = [f"member {n}" for n in range(GOSSIP_RECIPIENTS_MAX)]
        for name in names:
            room.desk.add([prekey_of(name, 1, FALLBACK, filler(name, 31) + b"\0")])
        room.alice.gossip = b"view"
        messages = [to("bob", *names), to("bob")]
        bundle = await room.bundle(*messages)
        bob, carol = room.others.values()
        opened = [bob.sealer.open(ORIGIN, delivery) for delivery in bob.receive(TinyProvider(), bundle)]
        assert [one.gossip for one in opened] == [b"", b"view"]

        told: set[bytes] = set()
        recipients = recipients_of("alice", "carol")
        message = to("carol")
        assert await room.alice.sealer.prepare(ORIGIN, [message]) == {}
        room.alice.gossip = b""
        room.alice.sealer.draft(ORIGIN, 1, recipients, message, told)
        assert told == set()
        room.alice.gossip = b"view"
        room.alice.sealer.draft(ORIGIN, 2, recipients, message, told)
        assert told == {carol.id}


async def test_what_is_not_sealed_travels_and_arrives_as_it_is() -> None:
    with trio.fail_after(10):
        room = Room("bob")
        bundle = await room.bundle(to("bob", kind=0))
        assert (bundle.commons, bundle.has_ciphertexts, room.desk.asked) == ([b"hello"], False, [])
        [bob] = room.others.values()
        [delivery] = bob.receive(TinyProvider(), bundle)
        assert bob.sealer.open(ORIGIN, delivery) == Opened(Seal.NONE, 0, b"hello")


async def test_a_note_to_oneself_asks_nobody() -> None:
    with trio.fail_after(10):
        room = Room()
        bundle = await room.bundle(to("alice"))
        [delivery] = room.alice.receive(TinyProvider(), bundle)
        assert room.alice.sealer.open(ORIGIN, delivery) == Opened(Seal.OPENED, PAYLOAD_DATA, b"hello")
        assert room.desk.asked == []


async def test_a_key_that_is_forgotten_opens_nothing() -> None:
    with trio.fail_after(10):
        room = Room("bob")
        await room.publish()
        [bob] = room.others.values()
        [delivery] = bob.receive(TinyProvider(), await room.bundle(to("bob")))
        spent = bob.sealer.open(ORIGIN, delivery).spent
        bob.store.drop_prekeys([spent])
        assert bob.sealer.open(ORIGIN, delivery) == UNREADABLE


async def test_what_was_sealed_for_another_message_or_is_nonsense_cannot_be_opened() -> None:
    with trio.fail_after(10):
        room = Room("bob", "carol")
        await room.publish()
        bob = room.others["bob"]
        bundle = await room.bundle(to("bob", "carol"))
        [delivery] = bob.receive(TinyProvider(), bundle)
        assert bob.sealer.open(ORIGIN, delivery).seal is Seal.OPENED
        own, others = delivery.ciphertext, [c for c in ciphertexts_of(bundle) if c != delivery.ciphertext]
        altered = [
            delivery._replace(sender_ctr=2),
            delivery._replace(sender=device_of("mallory")),
            delivery._replace(recipients=recipients_of("alice", "bob", "carol", salt="other")),
            delivery._replace(common=delivery.common[:-1] + bytes([delivery.common[-1] ^ 1])),
            delivery._replace(common=b""),
            *[delivery._replace(ciphertext=ciphertext) for ciphertext in others],
            delivery._replace(ciphertext=own[:-1] + bytes([own[-1] ^ 1])),
            delivery._replace(ciphertext=own[:8] + filler("nonsense", len(own) - 8)),
            delivery._replace(ciphertext=own[:9]),
            delivery._replace(ciphertext=b"x"),
        ]
        assert [bob.sealer.open(ORIGIN, one) for one in altered] == [UNREADABLE] * len(altered)
        assert bob.sealer.open(device_of("another origin"), delivery) == UNREADABLE


def test_what_an_application_encrypted_by_itself_is_unreadable_not_an_error() -> None:
    bob = Person("bob", PrekeyDesk())
    deliveries = bob.receive(
        TinyProvider(), bundle_of("alice", [draft_of(recipients_of("alice", "bob"), b"x", n) for n in (1, 48, 300)])
    )
    assert [bob.sealer.open(ORIGIN, one) for one in deliveries] == [UNREADABLE] * 3


async def test_without_a_key_for_somebody_a_draft_is_refused() -> None:
    with trio.fail_after(10):
        room = Room()
        room.desk.add([prekey_of("bob", 1, ONE_TIME, filler("x", 31) + b"\0")])
        with pytest.raises(Rejected) as refused:
            await room.bundle(to("bob"), to("bob"))
        assert refused.value.code == "no-prekeys"


def test_a_refusal_names_the_recipient_and_keeps_the_code() -> None:
    problems: dict[bytes, NoiseError] = {device_of("bob"): SignatureError("as the test says", code="bad-key")}
    refusal = refusal_of(problems, to("bob", "carol"))
    assert refusal is not None
    assert (refusal.code, format_id(device_of("bob")) in refusal.detail) == ("bad-key", True)
    assert refusal_of(problems, to("carol")) is None
    assert refusal_of(problems, to("bob", kind=0)) is None


def test_a_view_fits_what_a_bundle_reserves_for_it() -> None:
    cuts = tuple(Cut(2**64 - 1, 2**64 - 1, bytes(32)) for _ in range(3))
    assert len(VIEW.encode(View(CompactCheckpoint(2**64 - 1, bytes(32), bytes(64)), cuts))) <= GOSSIP_BYTES


async def test_sizes_are_counted_as_they_come_out() -> None:
    """The property below trusts these sums."""
    with trio.fail_after(10):
        room = Room("bob")
        await room.publish()
        room.alice.gossip = bytes(GOSSIP_BYTES)
        message = to("bob")
        bundle = await room.bundle(message)
        assert len(bundle.encode()) == len(open_bundle(pretended([message]), ORIGIN).encode())


def ids(count: int, label: str = "id") -> tuple[bytes, ...]:
    return address(ALICE.device_id, [filler(f"{label} {n}", 32) for n in range(count)])


def pretended(messages: Sequence[QueuedMessage]) -> bytes:
    """An encoded bundle as long as if these were sealed, with as much gossip as is reserved. Raises Rejected."""
    sets = {m.recipients: Recipients(RecipientSet(bytes(16), m.recipients)) for m in messages}
    drafts = []
    for m in messages:
        n = len(m.recipients)
        size = BOX_OVERHEAD_BYTES + (GOSSIP_BYTES if n <= GOSSIP_RECIPIENTS_MAX else 0) if m.kind else 0
        common = m.data + bytes(COMMON_OVERHEAD_BYTES if m.kind else 0)
        drafts.append(Draft(sets[m.recipients], common, (bytes(size),) * n if m.kind else (), m.created_ms))
    return build_bundle(ALICE.signer, ORIGIN, 1, drafts).encode()


def fits(messages: Sequence[QueuedMessage]) -> bool:
    """Whether a provider would take them as one bundle."""
    try:
        encoded = pretended(messages)
        open_bundle(encoded, ORIGIN)
    except Rejected:
        return False
    return len(encoded) <= BUNDLE_BYTES_MAX


SETS = [(ALICE.device_id,), *(ids(n) for n in (1, 3, 63, 64, 700, 1023)), *(ids(1023, f"set {n}") for n in range(4))]
MESSAGES = st.lists(
    st.builds(
        QueuedMessage,
        st.sampled_from(SETS),
        st.builds(bytes, st.sampled_from([0, 1, 300, 60_000, PAYLOAD_BODY_BYTES_MAX])),
        st.integers(0, 2**64 - 1),
        st.sampled_from([0, PAYLOAD_DATA, PAYLOAD_GOSSIP]),
    ),
    min_size=1,
    max_size=20,
)


@given(MESSAGES)
@settings(max_examples=40, deadline=None)
def test_as_many_messages_as_fit_go_into_a_bundle(messages: list[QueuedMessage]) -> None:
    count = count_fitting(messages)
    assert 1 <= count <= len(messages)
    assert fits(messages[:count])
    assert count == len(messages) or not fits(messages[: count + 1])


def test_the_largest_message_fits_alone() -> None:
    """Or the queue would stand still for ever."""
    assert fits([QueuedMessage(SETS[6], bytes(PAYLOAD_BODY_BYTES_MAX), 0, PAYLOAD_DATA)])
    assert fits([QueuedMessage(SETS[6], bytes(MESSAGE_BYTES_MAX), 0)])


def test_recipients_count_as_much_as_text() -> None:
    messages = [QueuedMessage(ids(1023, str(n)), b"", 0) for n in range(40)]
    assert count_fitting(messages) == BUNDLE_RECIPIENT_IDS_MAX // 1024
    assert fits(messages[:4])
    assert not fits(messages[:5])
    assert count_fitting([*messages[:4], *[messages[0]] * 100]) == 104


def test_every_sealed_copy_counts() -> None:
    messages = [QueuedMessage(SETS[6], b"", 0, PAYLOAD_DATA)] * 12
    assert count_fitting(messages) == BUNDLE_CIPHERTEXTS_MAX // 1024
    assert fits(messages[:8])
    assert not fits(messages[:9])


def test_room_for_gossip_is_counted() -> None:
    messages = [QueuedMessage(SETS[3], b"", 0, PAYLOAD_DATA)] * 60
    assert len(SETS[3]) == GOSSIP_RECIPIENTS_MAX
    count = count_fitting(messages)
    assert fits(messages[:count])
    assert not fits(messages[: count + 1])


def test_a_bundle_has_a_limited_number_of_messages() -> None:
    for kind in (0, PAYLOAD_DATA):
        messages = [QueuedMessage((ALICE.device_id,), b"", 0, kind)] * (BUNDLE_MESSAGES_MAX + 1)
        assert count_fitting(messages) == BUNDLE_MESSAGES_MAX
        assert fits(messages[:BUNDLE_MESSAGES_MAX])
