"""Clients who craft what they send, so that an honest provider shall seem to lie: crafted ids, salts, counters, twins.

Knows nothing of evidence. A colluder follows its mailbox as everybody does, and has what others sent and received at
hand. Whatever the provider accepts of this is the provider's to stand by; it may refuse, and must never contradict
itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

from noise.protocol.envelope import BUNDLE_WIRE, Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.frames import BundleFrame, Frame, Receipt, ReceiptFrame, RefusalFrame, encode_frame
from noise.protocol.history import map_key_of
from tests.simulation.carrier import Carrier
from tests.simulation.claims import false_claim
from tests.simulation.device import SimDevice, recipients_of
from tests.simulation.living import Living
from tests.simulation.provider import Link

_FIRST_REQUEST = 1 << 31


class Colluder(Living):
    """A device that also sends crafted bundles. `victims`: everybody, colluders too."""

    def __init__(self, *arguments: Any, victims: Sequence[SimDevice], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.loot: list[tuple[Bundle, Receipt]] = []
        self.victims = victims
        self._crafted: dict[int, Bundle | None] = {}

    def _take(self, frame: Frame) -> None:
        if not isinstance(frame, (ReceiptFrame, RefusalFrame)) or frame.request < _FIRST_REQUEST:
            super()._take(frame)
            return
        bundle = self._crafted[frame.request]
        if isinstance(frame, ReceiptFrame):
            assert bundle is not None, "a receipt for what no provider may accept"
            self.loot.append((bundle, frame.receipt))

    async def _send_more(self, link: Link) -> None:
        """Something crafted, after what is owed: a twin of what was sent stands behind it."""
        if self.rng.random() < 0.7 and len(self._crafted) < 6:
            craft: Callable[[Colluder], list[Bundle | bytes]] = self.rng.choice(CRAFTS)
            for made in craft(self):
                request = _FIRST_REQUEST + len(self._crafted)
                self._crafted[request] = made if isinstance(made, Bundle) else None
                data = made.encode() if isinstance(made, Bundle) else made
                self.weather.note(self.device.name, f"sends {craft.__name__} as {request}")
                await link.up_send.send(encode_frame(BundleFrame(request, data)))

    def greet(self, carrier: Carrier, peer: bytes) -> None:
        """The truth, and then something else."""
        super().greet(carrier, peer)
        if self.rng.random() < 0.7:
            carrier.send(self.device.device_id, peer, false_claim(self.rng, self.device, peer))

    def victim(self) -> SimDevice:
        return self.rng.choice(self.victims)

    def build(self, *drafts: Draft) -> Bundle:
        """A bundle with the next counters, which are used up whatever becomes of it."""
        bundle = build_bundle(self.device.signer, self.device.origin, self.device.next_ctr, drafts)
        self.device.next_ctr += bundle.count
        return bundle

    def to(self, *ids: bytes, salt: bytes | None = None) -> Recipients:
        return recipients_of(salt or self.rng.randbytes(16), [self.device.device_id, *ids])


def twins(me: Colluder) -> list[Bundle | bytes]:
    """Two contents for the same counters."""
    first_ctr, bundles = me.device.next_ctr, list[Bundle | bytes]()
    for content in (b"one", b"other"):
        me.device.next_ctr = first_ctr
        bundles.append(me.build(Draft(me.to(me.victim().device_id), content, (), 0)))
    return bundles


def stolen(me: Colluder) -> list[Bundle | bytes]:
    """Bundles of others, for their receipts."""
    sent = [victim.sent[number] for victim in me.victims for number in victim.receipts]
    return [me.rng.choice(sent)] if sent else []


def near_ids(me: Colluder) -> list[Bundle | bytes]:
    """Recipients whose ids begin or end like those of others, or are where these lie in the state map."""
    victim = me.victim().device_id
    ids = (victim[:31] + b"\0", b"\0" + victim[1:], map_key_of(victim), bytes(32), b"\xff" * 32, me.device.origin)
    chosen = me.rng.sample(ids, 3)
    return [me.build(Draft(me.to(victim, *chosen), b"near", (), 0), Draft(me.to(*chosen), b"you", (), 0))]


def shared_salts(me: Colluder) -> list[Bundle | bytes]:
    """The salt of another set, and two salts for one set."""
    others = [delivery.recipients.env_salt for delivery in me.device.deliveries] or [bytes(16)]
    victim = me.victim().device_id
    sets = (me.to(victim, salt=me.rng.choice(others)), me.to(victim), me.to(salt=me.rng.choice(others)))
    return [me.build(*(Draft(one, b"same", (), 7) for one in sets))]


def echoes(me: Colluder) -> list[Bundle | bytes]:
    """What another sent, word for word, as one's own; and once more."""
    if not me.device.deliveries:
        return []
    heard = me.rng.choice(me.device.deliveries)
    draft = Draft(
        Recipients(RecipientSet(heard.recipients.env_salt, heard.recipients.device_ids)),
        heard.common,
        (),
        heard.created_ms,
    )
    return [me.build(draft, draft), me.build(draft)]


def far_counters(me: Colluder) -> list[Bundle | bytes]:
    """Counters with great gaps."""
    me.device.next_ctr += me.rng.choice((1, 1 << 32, 1 << 40))
    return [me.build(Draft(me.to(me.victim().device_id), b"far", (), 2**64 - 1))]


def like_ciphertexts(me: Colluder) -> list[Bundle | bytes]:
    """One ciphertext for all, which is another's message besides; and an empty message."""
    to = me.to(me.victim().device_id, me.victim().device_id)
    heard = me.device.deliveries[-1].common if me.device.deliveries else b""
    return [me.build(Draft(to, b"", (heard or b"x",) * len(to.device_ids), 0), Draft(to, b"", (), 0))]


def not_bundles(me: Colluder) -> list[Bundle | bytes]:
    """What must be refused: repeated or unsorted recipients, without the sender, foreign origin, wrong signature."""
    victim = me.victim().device_id
    bundle = me.build(Draft(me.to(victim), b"bad", (), 0))
    wire = BUNDLE_WIRE.decode(bundle.encode())
    salt, ids = wire.sets[0]
    wrong = [
        wire._replace(sets=(RecipientSet(salt, (ids[0], *ids)),)),
        wire._replace(sets=(RecipientSet(salt, ids[::-1] if len(ids) > 1 else ids * 2),)),
        wire._replace(sets=(RecipientSet(salt, (map_key_of(victim),)),)),
        wire._replace(origin=me.device.device_id),
        wire._replace(signature=bytes(64)),
        wire._replace(first_ctr=wire.first_ctr + 1),
    ]
    return [BUNDLE_WIRE.encode(me.rng.choice(wrong)), bundle.encode()[:-1], me.rng.randbytes(80)]


CRAFTS = (twins, stolen, near_ids, shared_salts, echoes, far_counters, like_ciphertexts, not_bundles)
