"""A provider's HTTP face in memory: takes and hands out prekeys as the real one does, and knows nothing else.

Must not know: sockets, or the SDK. Tests make it lie by changing what it holds.
"""

from collections import deque
from collections.abc import Sequence

from noise.protocol.identifiers import format_id, parse_id
from noise.protocol.json_text import encode_json
from noise.protocol.prekeys import (
    FALLBACK,
    NO_PREKEY_ID,
    ONE_TIME,
    PREKEY,
    PREKEY_COUNT,
    PREKEY_OFFER,
    PREKEY_UPLOAD,
    Prekey,
    PrekeyCount,
    PrekeyOffer,
    SignedPrekey,
    check_upload,
    open_prekey,
    prekey_id_of,
    sign_prekey,
)
from tests.vectors.cast import ORIGIN, signer_of

FAR_MS = 2**41
"""When prekeys of these tests end: in 2039."""


def prekey_of(name: str, number: int, kind: int, public: bytes, not_after_ms: int = FAR_MS) -> SignedPrekey:
    """One of a device's keys, as it signs it."""
    return sign_prekey(signer_of(name), ORIGIN, prekey_id_of(number), kind, public, not_after_ms)


class PrekeyDesk:
    """`asked`: every request, as "METHOD path". `refuses`: a code that every request is refused with."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refuses = ""
        self.one_time: dict[bytes, deque[SignedPrekey]] = {}
        self.fallback: dict[bytes, SignedPrekey] = {}
        self.last_id: dict[bytes, bytes] = {}
        self.seen: list[Prekey] = []
        """All that was ever uploaded."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """(HTTP status, body)."""
        self.asked.append(f"{method} {path}")
        if self.refuses:
            return _refusal(503, self.refuses)
        if (method, path) == ("POST", "/v1/devices/self/prekeys"):
            return 201, PREKEY_COUNT.encode(self.count(self.add(PREKEY_UPLOAD.decode(body).prekeys)))
        _, _, *parts = path.split("/")
        if method != "GET" or len(parts) != 3 or parts[0] != "devices" or parts[2] not in ("prekey", "prekeys"):
            return _refusal(404, "not-found")
        device_id = parse_id(parts[1])
        if parts[2] == "prekeys":
            return 200, PREKEY_COUNT.encode(self.count(device_id))
        offer = self.take(device_id)
        return (200, PREKEY_OFFER.encode(offer)) if offer != PrekeyOffer(None, None) else _refusal(404, "no-prekeys")

    def add(self, signed: Sequence[SignedPrekey]) -> bytes:
        """The device whose they are. As in the real one, nothing at or below the last id is kept."""
        prekeys: list[Prekey] = [PREKEY.decode(one.body) for one in signed]
        check_upload(prekeys)
        device_id = prekeys[0].device_id
        for one, prekey in zip(signed, prekeys, strict=True):
            open_prekey(one, ORIGIN, device_id)
            self.seen.append(prekey)
            if prekey.prekey_id > self.last_id.get(device_id, NO_PREKEY_ID):
                self.last_id[device_id] = prekey.prekey_id
                if prekey.kind == FALLBACK:
                    self.fallback[device_id] = one
                else:
                    self.one_time.setdefault(device_id, deque()).append(one)
        return device_id

    def take(self, device_id: bytes) -> PrekeyOffer:
        one_time = self.one_time.get(device_id)
        return PrekeyOffer(one_time.popleft() if one_time else None, self.fallback.get(device_id))

    def count(self, device_id: bytes) -> PrekeyCount:
        fallback = self.fallback.get(device_id)
        end_ms = PREKEY.decode(fallback.body).not_after_ms if fallback else 0
        last_id = self.last_id.get(device_id, NO_PREKEY_ID)
        return PrekeyCount(len(self.one_time.get(device_id, ())), end_ms, last_id)

    def times_asked(self, device_id: bytes) -> int:
        """How often somebody asked for a key of a device."""
        return self.asked.count(f"GET /v1/devices/{format_id(device_id)}/prekey")


def _refusal(status: int, code: str) -> tuple[int, bytes]:
    return status, encode_json({"code": code, "detail": "as the test says", "status": status})


__all__ = ["FALLBACK", "FAR_MS", "ONE_TIME", "PrekeyDesk", "prekey_of"]
