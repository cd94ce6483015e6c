"""Serves the browser client, and what it draws of the pipeline. Whoever opens the page gets a client, and no secret.

Knows nothing of lies or bots, nor where the picture comes from. A path is looked up among the files that were read at
the start: no path leads anywhere else.
"""

from collections.abc import Callable, Mapping
from typing import Final

from quart import Response, request
from quart_trio import QuartTrio

from noise.demo.assets import INDEX, Asset
from noise.protocol.errors import Rejected
from noise.protocol.json_text import Json, encode_json
from noise.web.negotiation import Form
from noise.web.query import read_query

STATE_PATH: Final = "/demo/state"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Every response of the app has them: nothing that it says is to run anywhere but in its own page.

What is refused before there is a request for the app, such as a header that is too large, is answered without them, in
a line of plain text that nobody outside has a part in.
"""


class PageFace:
    """`assets`: see `noise.demo.assets`. `picture`: the demo's state, for people to look at and nobody to trust."""

    def __init__(self, assets: Mapping[str, Asset], picture: Callable[[], Json]) -> None:
        self._assets = assets
        self._picture = picture

    def add_routes(self, app: QuartTrio) -> None:
        app.after_request(_secure)
        app.add_url_rule("/", view_func=self.get_index, methods=["GET"])
        app.add_url_rule("/browser/<path:path>", view_func=self.get_file, methods=["GET"])
        app.add_url_rule(STATE_PATH, view_func=self.get_state, methods=["GET"])

    async def get_index(self) -> Response:
        return self._answer(INDEX)

    async def get_file(self, path: str) -> Response:
        return self._answer(path)

    async def get_state(self) -> Response:
        read_query()
        return Response(encode_json(self._picture()), content_type=Form.JSON.value)

    def _answer(self, path: str) -> Response:
        asset = self._assets.get(path)
        if asset is None:
            raise Rejected("the page has no such file", code="not-found")
        headers = {"Cache-Control": "no-cache", "ETag": f'"{asset.tag}"'}
        if request.if_none_match.contains(asset.tag):
            return Response(b"", 304, headers, content_type=asset.media_type)
        return Response(asset.data, 200, headers, content_type=asset.media_type)


async def _secure(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response
