"""Prekeys: only those that their device signed, for this provider, of the right kind and in time, are ever used."""

from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.encoding import Codec
from noise.protocol.errors import DecodeError, NoiseError, SignatureError
from noise.protocol.identifiers import device_id_of
from noise.protocol.limits import PREKEY_UPLOAD_BYTES_MAX, PREKEYS_IN_UPLOAD_MAX
from noise.protocol.prekeys import (
    FALLBACK,
    NO_PREKEY_ID,
    ONE_TIME,
    PREKEY,
    PREKEY_UPLOAD,
    SIGNED_PREKEY,
    SMALL_ORDER_PUBLICS,
    Prekey,
    PrekeyOffer,
    PrekeyUpload,
    SignedPrekey,
    check_agreement_key,
    check_upload,
    number_of,
    open_offer,
    open_prekey,
    prekey_id_of,
    sign_prekey,
)
from noise.protocol.signing import SIGNATURE_LABELS, SMALL_ORDER_KEYS
from tests.protocol import naive_hpke
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, device_of, seed_of, signer_of

_PREKEY: Codec[Prekey] = PREKEY
_UPLOAD: Codec[PrekeyUpload] = PREKEY_UPLOAD
NOW_MS = 1_700_000_000_000
ALICE = device_of("alice")
P = 2**255 - 19


def public_of(name: str) -> bytes:
    return naive_hpke.public_of(seed_of(f"prekey of {name}"))


def signed_by(
    name: str, number: int = 1, kind: int = ONE_TIME, not_after_ms: int = NOW_MS, origin: bytes = ORIGIN
) -> SignedPrekey:
    return sign_prekey(signer_of(name), origin, prekey_id_of(number), kind, public_of(name), not_after_ms)


def resigned(name: str = "alice", label: str = "prekey", origin: bytes = ORIGIN, **changes: Any) -> SignedPrekey:
    """A prekey of alice with other fields, signed as such by whoever is named."""
    prekey = _PREKEY.decode(signed_by("alice").body)._replace(**changes)
    return SignedPrekey(*signer_of(name).sign(label, origin, _PREKEY.encode(prekey)))


def code_of(signed: SignedPrekey, device_id: bytes = ALICE) -> str:
    with pytest.raises((DecodeError, SignatureError)) as caught:
        open_prekey(signed, ORIGIN, device_id)
    return caught.value.code


def test_signed_opens() -> None:
    prekey = open_prekey(signed_by("alice", 5, FALLBACK, 9), ORIGIN, ALICE)
    key = signer_of("alice").public_key
    assert prekey == Prekey(ORIGIN, ALICE, key, (5).to_bytes(8, "big"), FALLBACK, public_of("alice"), 9)


def test_swapped_prekeys_are_refused() -> None:
    """What a provider could hand out in place of the right one: another device's, another origin's, a changed one."""
    bob = signer_of("bob").public_key
    assert code_of(signed_by("bob")) == "wrong-key"
    assert code_of(signed_by("alice"), device_of("bob")) == "wrong-key"
    assert code_of(resigned("bob", device_id=ALICE, key=bob)) == "wrong-key"
    assert code_of(resigned("bob", device_id=device_of("bob"))) == "wrong-key"
    assert code_of(resigned("bob")) == "bad-signature"
    assert code_of(signed_by("alice", origin=OTHER_ORIGIN)) == "wrong-origin"
    assert code_of(resigned(origin=OTHER_ORIGIN)) == "bad-signature"
    for label in sorted(SIGNATURE_LABELS - {"prekey"}):
        assert code_of(resigned(label=label)) == "bad-signature"
    signed = signed_by("alice")
    body = _PREKEY.encode(_PREKEY.decode(signed.body)._replace(public=public_of("bob")))
    assert code_of(SignedPrekey(body, signed.signature)) == "bad-signature"


def test_every_bit_of_a_prekey_counts() -> None:
    signed = signed_by("alice")
    whole = SIGNED_PREKEY.encode(signed)
    for place in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(NoiseError) as caught:
            open_prekey(SIGNED_PREKEY.decode(bytes(changed)), ORIGIN, ALICE)
        assert caught.value.code in {"malformed", "wrong-origin", "wrong-key", "bad-key", "bad-signature"}


def test_other_kinds_and_ids_are_refused() -> None:
    for kind in (0, 3, 255):
        assert code_of(resigned(kind=kind)) == "malformed"
    assert code_of(resigned(prekey_id=NO_PREKEY_ID)) == "malformed"
    for body in (b"", b"x", signed_by("alice").body[:-1], signed_by("alice").body + b"\0"):
        assert code_of(SignedPrekey(body, bytes(64))) == "malformed"


@pytest.mark.parametrize("public", sorted(SMALL_ORDER_PUBLICS))
def test_keys_of_small_order_are_refused(public: bytes) -> None:
    """Each of them, and nothing that stands for the same number."""
    with pytest.raises(ValueError, match="shared key"):
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(public))
    u = int.from_bytes(public, "little")
    for same in {u, u + P, u | 1 << 255, (u + P) | 1 << 255}:
        if same < 2**256:
            assert code_of(resigned(public=same.to_bytes(32, "little"))) == "bad-key"


def test_small_orders() -> None:
    """0 doubles to nothing, 1 and -1 to 0, and two others to these, by the doubling formula of the curve."""

    def doubled(u: int) -> int | None:
        below = 4 * u * (u * u + 486662 * u + 1) % P
        return (u * u - 1) ** 2 * pow(below, -1, P) % P if below else None

    found = {int.from_bytes(public, "little") for public in SMALL_ORDER_PUBLICS}
    assert (doubled(0), doubled(1), doubled(P - 1)) == (None, 0, 0)
    assert len(found - {0, 1, P - 1}) == 2
    assert {doubled(u) for u in found - {0, 1, P - 1}} <= {1, P - 1}


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=50, deadline=None)
def test_generated_keys_are_taken(private_key: bytes) -> None:
    check_agreement_key(naive_hpke.public_of(private_key))


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), (P - 2).to_bytes(32, "little") + b"\0"])
def test_keys_of_another_length_are_refused(public: bytes) -> None:
    with pytest.raises(SignatureError) as caught:
        check_agreement_key(public)
    assert caught.value.code == "bad-key"


def test_signing_keys_of_small_order_are_refused() -> None:
    for key in SMALL_ORDER_KEYS:
        body = _PREKEY.encode(_PREKEY.decode(signed_by("alice").body)._replace(key=key, device_id=device_id_of(key)))
        assert code_of(SignedPrekey(body, bytes(64)), device_id_of(key)) == "bad-key"


def test_offer() -> None:
    one_time, fallback = signed_by("alice", 3), signed_by("alice", 1, FALLBACK)
    opened = open_prekey(one_time, ORIGIN, ALICE), open_prekey(fallback, ORIGIN, ALICE)
    assert open_offer(PrekeyOffer(one_time, fallback), ORIGIN, ALICE, NOW_MS) == opened
    assert open_offer(PrekeyOffer(None, fallback), ORIGIN, ALICE, NOW_MS) == (None, opened[1])
    assert open_offer(PrekeyOffer(one_time, None), ORIGIN, ALICE, NOW_MS) == (opened[0], None)
    assert open_offer(PrekeyOffer(None, None), ORIGIN, ALICE, NOW_MS) == (None, None)


def test_expired_offers_are_none() -> None:
    late = signed_by("alice", 1, FALLBACK, NOW_MS + 1)
    offer = PrekeyOffer(signed_by("alice"), late)
    assert open_offer(offer, ORIGIN, ALICE, NOW_MS + 1) == (None, open_prekey(late, ORIGIN, ALICE))
    assert open_offer(offer, ORIGIN, ALICE, NOW_MS + 2) == (None, None)


@pytest.mark.parametrize(
    "offer",
    [
        PrekeyOffer(signed_by("alice", 1, FALLBACK), None),  # used once, and refused to all others
        PrekeyOffer(None, signed_by("alice", 1)),  # used by everybody, and opened once
        PrekeyOffer(signed_by("alice", 1), signed_by("alice", 2)),
        PrekeyOffer(signed_by("bob", 1), signed_by("alice", 2, FALLBACK)),
        PrekeyOffer(signed_by("alice", 1), signed_by("bob", 2, FALLBACK)),
        PrekeyOffer(signed_by("bob", 1, not_after_ms=0), None),  # expired as well
    ],
)
def test_offers_that_no_honest_provider_makes(offer: PrekeyOffer) -> None:
    with pytest.raises((DecodeError, SignatureError)):
        open_offer(offer, ORIGIN, ALICE, NOW_MS)


def upload_of(*signed: SignedPrekey) -> list[Prekey]:
    return [_PREKEY.decode(each.body) for each in signed]


def test_upload() -> None:
    prekeys = [signed_by("alice", number, FALLBACK if number == 4 else ONE_TIME) for number in range(1, 9)]
    check_upload(upload_of(*prekeys))
    check_upload(upload_of(prekeys[0]))


@pytest.mark.parametrize(
    ("prekeys", "reason"),
    [
        ([], "without"),
        ([signed_by("alice", 1), signed_by("bob", 2)], "several devices"),
        ([signed_by("alice", 2), signed_by("alice", 1)], "rise"),
        ([signed_by("alice", 2), signed_by("alice", 2)], "rise"),
        ([signed_by("alice", 1, FALLBACK), signed_by("alice", 2, FALLBACK)], "two fallbacks"),
    ],
)
def test_uploads_that_are_none(prekeys: list[SignedPrekey], reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        check_upload(upload_of(*prekeys))


def test_largest_upload() -> None:
    signed = signed_by("alice")
    full = _UPLOAD.encode(PrekeyUpload((signed,) * PREKEYS_IN_UPLOAD_MAX))
    assert len(_UPLOAD.decode(full).prekeys) == PREKEYS_IN_UPLOAD_MAX
    assert len(full) <= PREKEY_UPLOAD_BYTES_MAX
    with pytest.raises(DecodeError):
        _UPLOAD.decode(_UPLOAD.encode(PrekeyUpload((signed,) * (PREKEYS_IN_UPLOAD_MAX + 1))))


def test_ids_rise_as_bytes() -> None:
    numbers = [1, 2, 255, 256, 2**32, 2**63, 2**64 - 1]
    ids = [prekey_id_of(number) for number in numbers]
    assert all(before < after for before, after in pairwise([NO_PREKEY_ID, *ids]))
    assert [number_of(prekey_id) for prekey_id in [NO_PREKEY_ID, *ids]] == [0, *numbers]
    for number in (0, -1, 2**64):
        with pytest.raises(DecodeError):
            prekey_id_of(number)
    for prekey_id in (b"", bytes(7), bytes(9)):
        with pytest.raises(DecodeError):
            number_of(prekey_id)
