"""Reads a device's mailbox over HTTP, a page at a time, for whoever holds its token.

Must not know: how pages are made or what they prove; how tokens are earned.
"""

from quart import Response, request
from quart_trio import QuartTrio

from noise.protocol.delta import DELTA, RecipientLists
from noise.protocol.errors import DecodeError, SignatureError
from noise.protocol.frames import DELTA_PREFIX, START, Cursor
from noise.protocol.json_text import parse_base64url
from noise.web.gateway import Gateway
from noise.web.negotiation import Form, answer_encoded, answer_form
from noise.web.query import read_query
from noise.web.tokens import Tokens


class PageReader:
    """A subscriber for the length of one page. It remembers no recipient lists, so every page brings its own."""

    def __init__(self, device_id: bytes, cursor: Cursor) -> None:
        self.device_id = device_id
        self.cursor = cursor
        self.lists = RecipientLists()

    def push_nowait(self, frame: bytes) -> None:
        """It never joins, so nothing is ever pushed to it."""


class Mailboxes:
    """`tokens`: who may read what."""

    def __init__(self, gateway: Gateway, tokens: Tokens) -> None:
        self._gateway = gateway
        self._tokens = tokens

    def add_routes(self, app: QuartTrio) -> None:
        app.add_url_rule("/v1/mailbox", view_func=self.get_page, methods=["GET"])

    async def get_page(self) -> Response:
        """The delta after the cursor in the query. `Noise-More: 1`: the next page is there already."""
        cursor = Cursor(**read_query(**START._asdict()))
        form = answer_form(Form.BINARY)
        reader = PageReader(self._device_id(), cursor)
        frame = await self._gateway.pipeline.fanout.catch_up(reader)
        response = await answer_encoded(DELTA, frame[len(DELTA_PREFIX) :], form)
        if reader.cursor.hist_next < reader.cursor.hist_size:
            response.headers["Noise-More"] = "1"
        return response

    def _device_id(self) -> bytes:
        """Whose mailbox the request's token opens. Raises SignatureError."""
        headers = request.headers.getlist("Authorization")
        scheme, _, text = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            raise SignatureError("send the token as Authorization: Bearer", code="token-missing")
        try:
            token = parse_base64url(text)
        except DecodeError:
            token = b""
        return self._tokens.device_of(token, self._gateway.time_ms())
