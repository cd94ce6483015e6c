"""Bundles that are not what their device made: other content under its signature, or its content under another's.

Knows nothing of where they are shown. A liar has no device's key but its own: whatever it changes of a bundle, the one
signature over it is the first thing that no longer fits; what it signs as itself, it can only send as itself.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from noise.protocol.encoding import Codec
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.identifiers import device_id_of
from noise.protocol.prekeys import PREKEY, SIGNED_PREKEY, Prekey, SignedPrekey
from noise.protocol.sealing import CONTENT_KEY_BYTES, PAYLOAD_DATA, BoxFor, Payload, seal
from noise.protocol.signing import Signed, Signer
from noise.store.base import PrekeyTally, PrekeyWrite, Store

NOBODY = bytes(32)
FORGED = b"what nobody said"
"""What a forger says to devices whose keys it has."""

_OWN_PREKEY = X25519PrivateKey.from_private_bytes(b"a prekey of the provider's own".ljust(32, b"."))
_PREKEY: Codec[Prekey] = PREKEY
_SIGNED_PREKEY: Codec[SignedPrekey] = SIGNED_PREKEY

Change: TypeAlias = Callable[[Bundle, int, bytes], Bundle]
"""(bundle, index of a message in it, victim) -> another bundle in its place."""


class _Borrowed(Signer):
    """Signs like a device whose key the liar has not: with a signature that the device made over something else."""

    def __init__(self, bundle: Bundle) -> None:
        self.public_key = bundle.key
        self._signature = bundle.signature

    def sign(self, label: str, origin: bytes, body: bytes) -> Signed:
        return Signed(body, self._signature)


def drafts_of(bundle: Bundle) -> list[Draft]:
    """A bundle taken apart."""
    drafts = []
    for row, common, column in zip(bundle.rows, bundle.commons, bundle.ciphertext_columns, strict=True):
        ciphertexts = tuple(column[i : i + row[3]] for i in range(0, len(column), row[3])) if column else ()
        drafts.append(Draft(bundle.recipients[row[0]], common, ciphertexts, row[1]))
    return drafts


def rebuild(bundle: Bundle, drafts: Sequence[Draft]) -> Bundle:
    """The sender's bundle with other content: consistent in all but the signature."""
    return build_bundle(_Borrowed(bundle), bundle.origin, bundle.first_ctr, drafts)


def with_ids(draft: Draft, device_ids: set[bytes]) -> Draft:
    """A draft for other recipients. Who is new gets a copy of somebody's ciphertext: it says nothing to anybody."""
    before = draft.recipients
    members = Recipients(RecipientSet(before.env_salt, tuple(sorted(device_ids))))
    places = [max(before.index(device_id), 0) for device_id in members.device_ids] if draft.ciphertexts else []
    return draft._replace(recipients=members, ciphertexts=tuple(draft.ciphertexts[place] for place in places))


def shifted(data: bytes) -> bytes:
    """Every byte one more; a byte, where there are none. Not its own inverse: two liars change more than one."""
    return bytes((byte + 1) % 256 for byte in data) or b"\x00"


def change_payload(bundle: Bundle, index: int, victim: bytes) -> Bundle:
    """One common ciphertext is other bytes."""
    drafts = drafts_of(bundle)
    drafts[index] = drafts[index]._replace(common=shifted(drafts[index].common))
    return rebuild(bundle, drafts)


def change_recipients(bundle: Bundle, index: int, victim: bytes) -> Bundle:
    """One message without one of its recipients, or with nobody as one more where there is none to leave out."""
    drafts = drafts_of(bundle)
    ids = set(drafts[index].recipients.device_ids)
    others = sorted(ids - {bundle.sender, victim})
    drafts[index] = with_ids(drafts[index], ids - {others[0]} if others else ids | {NOBODY})
    return rebuild(bundle, drafts)


def change_ciphertext(bundle: Bundle, index: int, victim: bytes) -> Bundle:
    """The victim's own ciphertext of one message is other bytes."""
    drafts = drafts_of(bundle)
    place = drafts[index].recipients.index(victim)
    ciphertexts = list(drafts[index].ciphertexts)
    ciphertexts[place] = shifted(ciphertexts[place])
    drafts[index] = drafts[index]._replace(ciphertexts=tuple(ciphertexts))
    return rebuild(bundle, drafts)


class Forger:
    """A device of the liar's: it can send anything, and sign for it.

    It cannot open what is sealed, but it can seal: every device has left a key with the provider.
    """

    def __init__(self) -> None:
        self._signer = Signer(b"a device of the provider's own".ljust(32, b"."))
        self.public_key = self._signer.public_key
        self.device_id = device_id_of(self.public_key)
        self._next_ctr = 0
        self._boxes = {self.device_id: BoxFor(bytes(8), _OWN_PREKEY.public_key().public_bytes_raw(), b"")}

    def learn_prekeys(self, store: Store) -> None:
        """Take a copy of every fallback key that is stored from now on."""
        add: Callable[[PrekeyWrite], Awaitable[PrekeyTally]] = store.add_prekeys

        async def add_prekeys(write: PrekeyWrite) -> PrekeyTally:
            if write.fallback is not None:
                self._learn(write.device, write.fallback.body)
            return await add(write)

        store.add_prekeys = add_prekeys  # type: ignore[method-assign]

    async def take_prekeys(self, store: Store, devices: Iterable[bytes], now_ms: int) -> None:
        """Take a copy of the fallback keys that these devices have left already; one more of each is used up."""
        for device_id in devices:
            taken = await store.take_prekey(device_id, now_ms)
            if taken.fallback is not None:
                self._learn(device_id, taken.fallback)

    def _learn(self, device_id: bytes, encoded: bytes) -> None:
        prekey = _PREKEY.decode(_SIGNED_PREKEY.decode(encoded).body)
        self._boxes[device_id] = BoxFor(prekey.prekey_id, prekey.public, b"")

    def forge(self, bundle: Bundle, drafts: Sequence[Draft]) -> Bundle:
        """A bundle of drafts in its own name, with itself among the recipients, and sealed where the drafts are."""
        own = [with_ids(draft, {*draft.recipients.device_ids, self.device_id}) for draft in drafts]
        own = [self._seal(bundle.origin, self._next_ctr + i, draft) for i, draft in enumerate(own)]
        made = build_bundle(self._signer, bundle.origin, self._next_ctr, own)
        self._next_ctr += made.count
        return made

    def _seal(self, origin: bytes, ctr: int, draft: Draft) -> Draft:
        ids = draft.recipients.device_ids
        if not draft.ciphertexts or not self._boxes.keys() >= set(ids):
            return draft
        boxes = {device_id: self._boxes[device_id] for device_id in ids}
        payload, key = Payload(PAYLOAD_DATA, FORGED), secrets.token_bytes(CONTENT_KEY_BYTES)
        common, ciphertexts = seal(origin, self.device_id, ctr, draft.recipients, payload, key, boxes)
        return draft._replace(common=common, ciphertexts=tuple(ciphertexts))

    def change_sender(self, bundle: Bundle, index: int, victim: bytes) -> Bundle:
        """The whole bundle, sent by the forger."""
        return self.forge(bundle, drafts_of(bundle))
