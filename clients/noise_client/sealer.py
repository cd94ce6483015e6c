"""Seals what we send and opens what came: end-to-end encryption as the SDK does it, on by default.

Knows nothing of connections or queues. Which key goes to whom is `noise_client.prekeys`; the bytes are
`noise.protocol.sealing`.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

from noise.protocol import delta
from noise.protocol.envelope import Draft, Recipients
from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.identifiers import format_id
from noise.protocol.limits import (
    BUNDLE_BYTES_MAX,
    BUNDLE_CIPHERTEXTS_MAX,
    BUNDLE_MESSAGES_MAX,
    BUNDLE_RECIPIENT_IDS_MAX,
)
from noise.protocol.prekeys import ONE_TIME
from noise.protocol.sealing import (
    BOX_OVERHEAD_BYTES,
    COMMON_OVERHEAD_BYTES,
    CONTENT_KEY_BYTES,
    BoxFor,
    CannotOpen,
    Payload,
    open_box,
    open_common,
    seal,
    seal_context,
    sealed_for,
)
from noise_client.device import Device
from noise_client.prekeys import OwnPrekeys, PeerPrekeys, public_of
from noise_client.provider_http import ProviderHttp
from noise_client.trust_store import QueuedMessage, Seal, TrustStore

GOSSIP_RECIPIENTS_MAX = 64
"""In larger sets gossip would cost more than the message: they hear of each other elsewhere."""

GOSSIP_BYTES = 304
"""What a bundle reserves for a view in each per-recipient ciphertext."""

# Sizes in `BUNDLE_WIRE`: what every bundle has, what each recipient set adds beside its ids, and what each row adds.
_BUNDLE_FIXED_BYTES = 32 + 32 + 8 + 64 + 4 * 4
_SET_FIXED_BYTES = 16 + 4
_ROW_FIXED_BYTES = 2 + 8 + 4 + 2


class Opened(NamedTuple):
    """What came of a delivery. `kind`: as in `noise.protocol.sealing`; 0 if it could not be opened, or was not sealed.

    `gossip`: the sender's view, encoded, or empty. `spent`: the id of a one-time prekey that opened it, or empty.
    """

    seal: Seal
    kind: int
    data: bytes
    gossip: bytes = b""
    spent: bytes = b""


class Sealer:
    """`gossip_for(peer)`: the view to send along, encoded. It, and everything here but `prepare`, calls the store."""

    def __init__(
        self,
        device: Device,
        store: TrustStore,
        own: OwnPrekeys,
        http: Callable[[], ProviderHttp],
        gossip_for: Callable[[bytes], bytes],
    ) -> None:
        self._device = device
        self._store = store
        self._own = own
        self._peers = PeerPrekeys()
        self._http = http
        self._gossip_for = gossip_for

    async def prepare(self, origin: bytes, messages: Sequence[QueuedMessage]) -> dict[bytes, NoiseError]:
        """Have keys for the recipients of these messages, or say for which there are none. Raises LinkError."""
        peers = {peer for message in messages if message.kind for peer in message.recipients}
        peers.discard(self._device.device_id)
        return await self._peers.prepare(origin, sorted(peers), self._http()) if peers else {}

    def draft(self, origin: bytes, ctr: int, recipients: Recipients, message: QueuedMessage, told: set[bytes]) -> Draft:
        """A message, sealed if it has a kind. `told`: who got our view in this bundle already; grows.

        Raises Rejected "no-prekeys" when there is no key left for somebody.
        """
        if not message.kind:
            return Draft(recipients, message.data, (), message.created_ms)
        boxes: dict[bytes, BoxFor] = {}
        for device_id in recipients.device_ids:
            if device_id == self._device.device_id:
                kept = self._own.own_fallback()
                boxes[device_id] = BoxFor(kept.prekey_id, public_of(kept.private_key), b"")
                continue
            prekey = self._peers.choose(device_id)
            gossip = b""
            if len(recipients.device_ids) <= GOSSIP_RECIPIENTS_MAX and device_id not in told:
                gossip = self._gossip_for(device_id)
            if gossip:
                told.add(device_id)
            boxes[device_id] = BoxFor(prekey.prekey_id, prekey.public, gossip)
        key = secrets.token_bytes(CONTENT_KEY_BYTES)
        payload = Payload(message.kind, message.data)
        common, ciphertexts = seal(origin, self._device.device_id, ctr, recipients, payload, key, boxes)
        return Draft(recipients, common, tuple(ciphertexts), message.created_ms)

    def open(self, origin: bytes, delivery: delta.Delivery) -> Opened:
        """What a verified delivery says. What cannot be opened is its sender's fault, or our loss of a key."""
        if not delivery.ciphertext:
            return Opened(Seal.NONE, 0, delivery.common)
        try:
            prekey_id = sealed_for(delivery.ciphertext)
            kept = self._store.prekey(prekey_id)
            if kept is None:
                raise CannotOpen("the key that this was sealed for is not, or no longer, ours")
            context = seal_context(origin, delivery.sender, delivery.sender_ctr, delivery.recipients.root)
            box = open_box(context, self._device.device_id, delivery.ciphertext, kept.private_key)
            payload = open_common(context, delivery.common, box.content_key)
        except CannotOpen:
            return Opened(Seal.UNREADABLE, 0, b"")
        spent = prekey_id if kept.kind == ONE_TIME else b""
        return Opened(Seal.OPENED, payload.kind, payload.body, box.gossip, spent)


def count_fitting(messages: Sequence[QueuedMessage]) -> int:
    """How many of the first messages go into one bundle, sealed or not."""
    sets: set[tuple[bytes, ...]] = set()
    size = _BUNDLE_FIXED_BYTES
    n_ids = n_ciphertexts = 0
    for count, message in enumerate(messages[:BUNDLE_MESSAGES_MAX]):
        n = len(message.recipients)
        size += _ROW_FIXED_BYTES + len(message.data)
        if message.kind:
            gossip_bytes = GOSSIP_BYTES if n <= GOSSIP_RECIPIENTS_MAX else 0
            size += COMMON_OVERHEAD_BYTES + n * (BOX_OVERHEAD_BYTES + gossip_bytes)
            n_ciphertexts += n
        if message.recipients not in sets:
            sets.add(message.recipients)
            size += _SET_FIXED_BYTES + 32 * n
            n_ids += n
        is_too_long = n_ids > BUNDLE_RECIPIENT_IDS_MAX or n_ciphertexts > BUNDLE_CIPHERTEXTS_MAX
        if size > BUNDLE_BYTES_MAX or is_too_long:
            return count
    return min(len(messages), BUNDLE_MESSAGES_MAX)


def refusal_of(problems: dict[bytes, NoiseError], message: QueuedMessage) -> Rejected | None:
    """Why a message cannot be sealed, if it cannot."""
    for peer in message.recipients if message.kind else ():
        if peer in problems:
            error = problems[peer]
            return Rejected(f"cannot seal for {format_id(peer)}: {error.detail}", code=error.code)
    return None
