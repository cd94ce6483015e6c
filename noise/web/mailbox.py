"""Reads a device's mailbox over HTTP, a page at a time, for whoever holds its token.

Must not know: how pages are made or what they prove; how tokens are earned.
"""

from quart import Response
from quart_trio import QuartTrio

from noise.protocol.delta import DELTA, RecipientLists
from noise.protocol.frames import DELTA_PREFIX, START, Cursor
from noise.web.auth import read_bearer
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
        reader = PageReader(self._tokens.device_of(read_bearer(), self._gateway.time_ms()), cursor)
        frame = await self._gateway.pipeline.fanout.catch_up(reader)
        response = await answer_encoded(DELTA, frame[len(DELTA_PREFIX) :], form)
        if reader.cursor.hist_next < reader.cursor.hist_size:
            response.headers["Noise-More"] = "1"
        return response
