"""How large one body may be, and how much the bodies of all requests and responses may hold together.

Must not know: what any body says. Quart takes in a request's body as fast as it comes, and holds a response until its
client has read it: so many slow clients could fill the memory of any machine, each within the limits of one.
"""

from typing import Any, Final

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Request
from quart.typing import ResponseTypes
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioBody
from werkzeug.exceptions import ServiceUnavailable

from noise.protocol.evidence.proof import PROOF_BYTES_MAX
from noise.protocol.limits import BUNDLE_BYTES_MAX, PREKEY_UPLOAD_BYTES_MAX
from noise.web.budget import Budget
from noise.web.negotiation import Form
from noise.web.problems import make_problem

BUNDLES_PATH: Final = "/v1/bundles"
PREKEYS_PATH: Final = "/v1/devices/self/prekeys"
COMPLAINTS_PATH: Final = "/v1/complaints"
JSON_FACTOR: Final = 4
"""A body's JSON, in bytes to those of its encoding: 2 at most as programs write it, and room for white space."""

_BYTES_MAX_OF_PATH: Final = {
    BUNDLES_PATH: BUNDLE_BYTES_MAX,
    PREKEYS_PATH: PREKEY_UPLOAD_BYTES_MAX,
}

BODY_BYTES_MAX: Final = 16_384
"""Any other request's: an AuthProof with its signature is 300 bytes, 800 as JSON."""

BODIES_BYTES_MAX: Final = 256 << 20
"""All bodies together, in both directions."""

SMALL_BYTES: Final = 16_384
"""What a body may hold however much the others do: short messages and refusals have to get through."""

_BUSY: Final = "too many requests at once: send again later"


def body_bytes_max(path: str, media_type: str) -> int:
    """The largest body that a request may have."""
    if (path, media_type) == (COMPLAINTS_PATH, Form.BINARY.value):
        return PROOF_BYTES_MAX  # a proof comes in no other form
    bytes_max = _BYTES_MAX_OF_PATH.get(path)
    if bytes_max is None:
        return BODY_BYTES_MAX
    return bytes_max * (JSON_FACTOR if media_type == Form.JSON.value else 1)


class BudgetedBody(TrioBody):
    """A request's body. What does not fit is refused when the handler asks for it."""

    def __init__(self, expected_bytes: int | None, bytes_max: int, budget: Budget) -> None:
        super().__init__(expected_bytes, bytes_max)
        self._budget = budget
        self._taken = 0

    def append(self, data: bytes) -> None:
        if self._must_raise is not None:
            return
        if self._taken + len(data) > SMALL_BYTES and not self._budget.has_room(len(data)):
            self._must_raise = ServiceUnavailable(_BUSY)
            self.set_complete()
            return
        self._taken += len(data)
        self._budget.used += len(data)
        super().append(data)

    def release(self) -> None:
        self._budget.used -= self._taken
        self._taken = 0


class BoundedExchange(TrioASGIHTTPConnection):
    """One request and its response, bounded alone by its path and together with all others by the budget."""

    app: Any

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        request = super()._create_request_from_scope(send)
        bytes_max = body_bytes_max(request.path, request.mimetype)
        self._body = request.body = BudgetedBody(request.content_length, bytes_max, self.app.budget)
        return request

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            await super().__call__(receive, send)
        finally:
            self._body.release()

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        budget: Budget = self.app.budget
        size = response.content_length or 0
        if size > SMALL_BYTES and not budget.has_room(size):
            response, size = make_problem("busy", _BUSY), 0
        budget.used += size
        try:
            await super()._send_response(send, response)
        finally:
            budget.used -= size
