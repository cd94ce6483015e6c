"""Shows auditors whom the operator named who was to receive which message, an epoch at a time, and no content.

Must not know: what an auditor makes of it; how its token was earned.
"""

from functools import partial

import trio
from quart import Response
from quart_trio import QuartTrio

from noise.pipeline.epoch_pages import ReadLane, make_audit_page, read_lanes
from noise.protocol.audit_page import AUDIT_PAGE, AuditPage
from noise.protocol.encoding import Codec
from noise.protocol.json_text import parse_decimal
from noise.web.auth import read_bearer
from noise.web.gateway import Gateway
from noise.web.negotiation import Form, answer_encoded, answer_form
from noise.web.query import read_query
from noise.web.tokens import Tokens

_AUDIT_PAGE: Codec[AuditPage] = AUDIT_PAGE


class Audits:
    """`tokens`: of auditors. Pages are made one at a time: auditors wait rather than those who send."""

    def __init__(self, gateway: Gateway, tokens: Tokens) -> None:
        self._gateway = gateway
        self._tokens = tokens
        self._making = trio.Semaphore(1)

    def add_routes(self, app: QuartTrio) -> None:
        app.add_url_rule("/v1/audit/<epoch>", view_func=self.get_audit, methods=["GET"])

    async def get_audit(self, epoch: str) -> Response:
        """Every lane of a committed epoch: its messages' leaves, and their recipients."""
        read_query()
        form = answer_form(Form.BINARY)
        self._tokens.device_of(read_bearer(), self._gateway.time_ms())
        number = parse_decimal(epoch)
        self._gateway.check_committed(number + 1)
        async with self._making:
            lanes = await read_lanes(self._gateway.store, number)
            encoded = await trio.to_thread.run_sync(partial(_encode_page, number, lanes))
        return await answer_encoded(_AUDIT_PAGE, encoded, form)


def _encode_page(epoch: int, lanes: list[ReadLane]) -> bytes:
    return _AUDIT_PAGE.encode(make_audit_page(epoch, lanes))
