"""Tells a supervisor whether the process runs, and whether it can serve.

Must not know: what it serves.
"""

from quart import Response
from quart_trio import QuartTrio

from noise.protocol.errors import Rejected
from noise.protocol.json_text import encode_json
from noise.web.gateway import Gateway
from noise.web.negotiation import Form
from noise.web.query import read_query


class Health:
    """Two questions, and no way to change anything."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def add_routes(self, app: QuartTrio) -> None:
        app.add_url_rule("/healthz", view_func=self.get_health, methods=["GET"])
        app.add_url_rule("/readyz", view_func=self.get_readiness, methods=["GET"])

    async def get_health(self) -> Response:
        """200 while the process runs."""
        read_query()
        return Response(encode_json({"status": "ok"}), content_type=Form.JSON.value)

    async def get_readiness(self) -> Response:
        """200 and the newest epoch, once one of this run is committed and for as long as the store gives it back."""
        read_query()
        view = self._gateway.pipeline.fanout.view
        if view is None or await self._gateway.store.epoch_row(view.epoch) is None:
            raise Rejected("starting: no epoch is committed yet", code="unavailable")
        return Response(encode_json({"epoch": str(view.epoch)}), content_type=Form.JSON.value)
