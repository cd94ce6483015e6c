"""Makes the golden vectors of prekeys: signed ones, offers, uploads, and those that are refused, each with its code."""

from typing import Any

from noise.protocol.encoding import Codec
from noise.protocol.prekeys import (
    FALLBACK,
    NO_PREKEY_ID,
    ONE_TIME,
    PREKEY,
    PREKEY_COUNT,
    PREKEY_OFFER,
    PREKEY_UPLOAD,
    SMALL_ORDER_PUBLICS,
    Prekey,
    PrekeyCount,
    PrekeyOffer,
    PrekeyUpload,
    SignedPrekey,
    check_agreement_key,
    check_upload,
    open_offer,
    open_prekey,
    prekey_id_of,
    sign_prekey,
)
from tests.protocol import naive_hpke
from tests.vectors.cast import CREATED_MS, ORIGIN, OTHER_ORIGIN, device_of, seed_of, signer_of
from tests.vectors.golden import readable, refusal_of, write

_PREKEY: Codec[Prekey] = PREKEY
_UPLOAD: Codec[PrekeyUpload] = PREKEY_UPLOAD
_OFFER: Codec[PrekeyOffer] = PREKEY_OFFER
_COUNT: Codec[PrekeyCount] = PREKEY_COUNT
ALICE = device_of("alice")
P = 2**255 - 19


def make_prekey(number: int, kind: int = ONE_TIME, name: str = "alice", origin: bytes = ORIGIN) -> SignedPrekey:
    public = naive_hpke.public_of(seed_of(f"prekey {number} of {name}"))
    return sign_prekey(signer_of(name), origin, prekey_id_of(number), kind, public, CREATED_MS + number)


def changed(name: str = "alice", **changes: Any) -> SignedPrekey:
    """Alice's prekey 1 with other fields, signed as such by whoever is named."""
    body = _PREKEY.encode(_PREKEY.decode(make_prekey(1).body)._replace(**changes))
    return SignedPrekey(*signer_of(name).sign("prekey", ORIGIN, body))


def shown(signed: SignedPrekey) -> dict[str, Any]:
    return {"prekey": _PREKEY.decode(signed.body), "body": signed.body, "signature": signed.signature}


def refused_prekeys() -> list[dict[str, Any]]:
    good, bob = make_prekey(1), signer_of("bob").public_key
    public = _PREKEY.decode(make_prekey(2).body).public
    return [
        {
            "reason": reason,
            "device_id": ALICE,
            "body": signed.body,
            "signature": signed.signature,
            "code": refusal_of(open_prekey, signed, ORIGIN, ALICE),
        }
        for reason, signed in (
            ("another device's", make_prekey(1, name="bob")),
            ("another device's key", changed("bob", key=bob)),
            ("another device's signature", changed("bob")),
            ("for another provider", make_prekey(1, origin=OTHER_ORIGIN)),
            ("another public key", SignedPrekey(changed(public=public).body, good.signature)),
            ("signed as something else", SignedPrekey(*signer_of("alice").sign("auth", ORIGIN, good.body))),
            ("public key of small order", changed(public=(1).to_bytes(32, "little"))),
            ("no such kind", changed(kind=3)),
            ("id zero", changed(prekey_id=NO_PREKEY_ID)),
            ("cut", SignedPrekey(good.body[:-1], good.signature)),
        )
    ]


def refused_offers() -> list[dict[str, Any]]:
    one_time, fallback = make_prekey(1), make_prekey(2, FALLBACK)
    return [
        {
            "reason": reason,
            "encoded": _OFFER.encode(offer),
            "code": refusal_of(open_offer, offer, ORIGIN, ALICE, CREATED_MS),
        }
        for reason, offer in (
            ("kinds exchanged", PrekeyOffer(fallback, one_time)),
            ("a fallback to use once", PrekeyOffer(fallback, None)),
            ("one of another device", PrekeyOffer(make_prekey(1, name="bob"), fallback)),
        )
    ]


def refused_uploads() -> list[dict[str, Any]]:
    one, two = make_prekey(1), make_prekey(2)
    return [
        {
            "reason": reason,
            "encoded": _UPLOAD.encode(PrekeyUpload(prekeys)),
            "code": refusal_of(check_upload, [_PREKEY.decode(signed.body) for signed in prekeys]),
        }
        for reason, prekeys in (
            ("none", ()),
            ("ids fall", (two, one)),
            ("one id twice", (one, one)),
            ("two devices", (one, make_prekey(2, name="bob"))),
            ("two fallbacks", (make_prekey(1, FALLBACK), make_prekey(2, FALLBACK))),
        )
    ]


def agreement_keys() -> list[dict[str, Any]]:
    numbers = {int.from_bytes(public, "little") for public in SMALL_ORDER_PUBLICS}
    bad = sorted({*numbers, P, P + 1, P + 18, 2**255, 2**255 + 1, 2**256 - 1})
    keys = [number.to_bytes(32, "little") for number in bad]
    return [{"public": key, "code": refusal_of(check_agreement_key, key)} for key in keys]


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    one_time, fallback = make_prekey(1), make_prekey(2, FALLBACK)
    upload = PrekeyUpload((one_time, fallback, make_prekey(2**53 + 1)))
    check_upload([_PREKEY.decode(signed.body) for signed in upload.prekeys])
    offers = [PrekeyOffer(one_time, fallback), PrekeyOffer(None, fallback), PrekeyOffer(one_time, None)]
    content = {
        "origin": ORIGIN,
        "device_id": ALICE,
        "prekeys": [shown(signed) for signed in upload.prekeys],
        "upload": _UPLOAD.encode(upload),
        "offers": [
            {
                "encoded": _OFFER.encode(offer),
                "now_ms": now_ms,
                "usable_ids": [prekey and prekey.prekey_id for prekey in open_offer(offer, ORIGIN, ALICE, now_ms)],
            }
            for offer in offers
            for now_ms in (CREATED_MS, CREATED_MS + 1, CREATED_MS + 2, CREATED_MS + 3)
        ],
        "count": _COUNT.encode(PrekeyCount(3, CREATED_MS + 2, prekey_id_of(2**53 + 1))),
        "refused_prekeys": refused_prekeys(),
        "refused_offers": refused_offers(),
        "refused_uploads": refused_uploads(),
        "refused_publics": agreement_keys(),
    }
    return {"prekeys.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
