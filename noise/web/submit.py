"""Takes bundles over HTTP and answers each with its receipt.

Must not know: what makes a bundle acceptable (the pipeline judges it), who may read what.
"""

from http import HTTPStatus
from typing import Final

import trio
from quart import Response
from quart_trio import QuartTrio

from noise.protocol.encoding import Codec
from noise.protocol.envelope import BUNDLE_WIRE
from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.frames import RECEIPT, Receipt
from noise.web.bodies import BUNDLES_PATH
from noise.web.gateway import Gateway
from noise.web.negotiation import answer_encoded, answer_form, body_form, read_encoded
from noise.web.query import read_query

ANSWER_S: Final = 30.0
"""How long a client waits for its receipt. Under load an epoch takes milliseconds."""

_WAITING_MAX: Final = 1024
"""Bundles that wait for their receipts: a megabyte each at worst."""

_RECEIPT: Codec[Receipt] = RECEIPT


class Outcome:
    """The fate of one bundle, which outlives the request that brought it."""

    def __init__(self) -> None:
        self.known = trio.Event()
        self._value: Receipt | NoiseError | None = None

    def settle(self, value: Receipt | NoiseError) -> None:
        """The pipeline's answer. Nobody may be waiting any more."""
        self._value = value
        self.known.set()

    def receipt(self) -> Receipt:
        """Raises NoiseError: why there is none."""
        if self._value is None:
            raise Rejected(
                "no receipt yet; the bundle may still be sequenced: send the same bytes again", code="unavailable"
            )
        if isinstance(self._value, NoiseError):
            raise self._value
        return self._value


class Submissions:
    """`answer_s`: how long to wait for a receipt, in seconds."""

    def __init__(self, gateway: Gateway, answer_s: float) -> None:
        self._gateway = gateway
        self._answer_s = answer_s
        self._n_waiting = 0

    def add_routes(self, app: QuartTrio) -> None:
        app.add_url_rule(BUNDLES_PATH, view_func=self.post_bundle, methods=["POST"])

    async def post_bundle(self) -> Response:
        """201 and the receipt, once the manifest that commits to the bundle is durable.

        The same bytes again get the same receipt. A client that leaves before loses its answer and nothing else.
        """
        read_query()
        form = answer_form(body_form())
        data = await read_encoded(BUNDLE_WIRE)
        if self._n_waiting >= _WAITING_MAX:
            raise Rejected("too many bundles wait for their receipts: send again later", code="busy")
        self._n_waiting += 1
        try:
            receipt = await self._submit(data)
        finally:
            self._n_waiting -= 1
        return await answer_encoded(_RECEIPT, _RECEIPT.encode(receipt), form, HTTPStatus.CREATED)

    async def _submit(self, data: bytes) -> Receipt:
        outcome = Outcome()
        try:
            with trio.move_on_after(self._answer_s):
                await self._gateway.pipeline.submit(data, outcome.settle)
                await outcome.known.wait()
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise Rejected("the provider is stopping: send again later", code="unavailable") from None
        return outcome.receipt()
