"""Takes the prekeys that devices sign in advance, and hands them to whoever wants to seal for a device.

Must not know: how prekeys are used; how they are kept.
"""

from collections.abc import Sequence
from http import HTTPStatus

import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import MethodNotAllowed

from noise.protocol.encoding import Codec
from noise.protocol.errors import DecodeError, Rejected
from noise.protocol.identifiers import parse_id
from noise.protocol.limits import PREKEY_LIFE_MS, PREKEYS_MAX
from noise.protocol.prekeys import (
    FALLBACK,
    PREKEY,
    PREKEY_COUNT,
    PREKEY_OFFER,
    PREKEY_UPLOAD,
    SIGNED_PREKEY,
    Prekey,
    PrekeyCount,
    PrekeyOffer,
    PrekeyUpload,
    SignedPrekey,
    check_upload,
    open_prekey,
)
from noise.store.base import DevicesFull, PrekeyRow, PrekeysFull, PrekeyTally, PrekeyWrite, StoreCorrupt
from noise.web.bodies import PREKEYS_PATH
from noise.web.gateway import Gateway
from noise.web.negotiation import Form, answer_encoded, answer_form, body_form, read_encoded
from noise.web.query import read_query

_PREKEY: Codec[Prekey] = PREKEY
_SIGNED: Codec[SignedPrekey] = SIGNED_PREKEY
_UPLOAD: Codec[PrekeyUpload] = PREKEY_UPLOAD
_OFFER: Codec[PrekeyOffer] = PREKEY_OFFER
_COUNT: Codec[PrekeyCount] = PREKEY_COUNT


class Prekeys:
    """Everything here is public. Only a device itself can add to its own: every prekey is signed by it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def add_routes(self, app: QuartTrio) -> None:
        app.add_url_rule(PREKEYS_PATH, view_func=self.post_prekeys, methods=["POST"])
        app.add_url_rule("/v1/devices/<device>/prekey", view_func=self.get_prekey, methods=["GET"])
        app.add_url_rule("/v1/devices/<device>/prekeys", view_func=self.get_count, methods=["GET"])

    async def post_prekeys(self) -> Response:
        """201 and what the device has then. The same prekeys again, or any that it had before, change nothing."""
        read_query()
        form = answer_form(body_form())
        upload = _UPLOAD.decode(await read_encoded(PREKEY_UPLOAD))
        prekeys = [_PREKEY.decode(signed.body) for signed in upload.prekeys]
        now_ms = self._gateway.time_ms()
        check_upload(prekeys)
        _check_ends(prekeys, now_ms)
        for signed in upload.prekeys:
            open_prekey(signed, self._gateway.origin, prekeys[0].device_id)
            await trio.lowlevel.checkpoint()  # others wait for one signature check, not for all
        try:
            tally = await self._gateway.store.add_prekeys(self._write_of(upload, prekeys, now_ms))
        except (PrekeysFull, DevicesFull) as error:
            raise Rejected(error.detail, code=error.code) from None
        return await _answer_count(tally, form, HTTPStatus.CREATED)

    def _write_of(self, upload: PrekeyUpload, prekeys: Sequence[Prekey], now_ms: int) -> PrekeyWrite:
        rows = [
            PrekeyRow(prekey.prekey_id, prekey.not_after_ms, _SIGNED.encode(signed))
            for prekey, signed in zip(prekeys, upload.prekeys, strict=True)
        ]
        kinds = [prekey.kind for prekey in prekeys]
        one_time = [row for row, kind in zip(rows, kinds, strict=True) if kind != FALLBACK]
        fallback = rows[kinds.index(FALLBACK)] if FALLBACK in kinds else None
        device_id = prekeys[0].device_id
        return PrekeyWrite(device_id, now_ms, one_time, fallback, PREKEYS_MAX, self._gateway.devices_max)

    async def get_prekey(self, device: str) -> Response:
        """A one-time prekey, which nobody else gets, and the fallback. What is answered is gone, received or not."""
        read_query()
        if request.method == "HEAD":
            raise MethodNotAllowed(["GET"])  # it would cost a prekey, and show none
        form = answer_form(Form.JSON)
        pair = await self._gateway.store.take_prekey(parse_id(device), self._gateway.time_ms())
        if pair.one_time is None and pair.fallback is None:
            raise Rejected("this device has no prekeys here", code="no-prekeys")
        offer = PrekeyOffer(_stored(pair.one_time), _stored(pair.fallback))
        return await answer_encoded(_OFFER, _OFFER.encode(offer), form)

    async def get_count(self, device: str) -> Response:
        """How many prekeys a device has; one that never had any has none."""
        read_query()
        form = answer_form(Form.JSON)
        tally = await self._gateway.store.count_prekeys(parse_id(device), self._gateway.time_ms())
        return await _answer_count(tally, form, HTTPStatus.OK)


async def _answer_count(tally: PrekeyTally, form: Form, status: HTTPStatus) -> Response:
    return await answer_encoded(_COUNT, _COUNT.encode(PrekeyCount(*tally)), form, status)


def _check_ends(prekeys: Sequence[Prekey], now_ms: int) -> None:
    """Raises Rejected unless each prekey ends later, and not too much later."""
    if min(prekey.not_after_ms for prekey in prekeys) < now_ms:
        raise Rejected("a prekey has expired: check the clock", code="prekey-expired")
    if max(prekey.not_after_ms for prekey in prekeys) > now_ms + PREKEY_LIFE_MS:
        raise Rejected(f"a prekey ends at most {PREKEY_LIFE_MS} ms from now: check the clock", code="prekey-too-long")


def _stored(body: bytes | None) -> SignedPrekey | None:
    try:
        return None if body is None else _SIGNED.decode(body)
    except DecodeError:
        raise StoreCorrupt("a stored prekey is damaged: restore the store from a copy") from None
