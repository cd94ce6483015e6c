"""Builds the HTTP face: its routes, its limits, and the headers that every response has.

Must not know: what any handler does.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from quart import Response
from quart_trio import QuartTrio
from werkzeug.routing import MapAdapter

from noise.protocol.limits import BUNDLE_BYTES_MAX
from noise.web.audit import Audits
from noise.web.bodies import BODIES_BYTES_MAX, JSON_FACTOR, BoundedExchange
from noise.web.budget import Budget
from noise.web.complaints import Complaints
from noise.web.gateway import Gateway
from noise.web.health import Health
from noise.web.history import History
from noise.web.mailbox import Mailboxes
from noise.web.prekeys import Prekeys
from noise.web.problems import handle_errors
from noise.web.sessions import Sessions
from noise.web.submit import ANSWER_S, Submissions
from noise.web.tokens import Tokens

_BODY_S: Final = 30
_RESPONSE_S: Final = 120  # the largest frame to a client that reads 200 KiB/s, a page to one that reads 9


class HttpFace(QuartTrio):
    """The application. `budget`: what the bodies of all its requests and responses may hold."""

    asgi_http_class = BoundedExchange

    def __init__(self) -> None:
        super().__init__("noise", static_folder=None)
        self.budget = Budget(BODIES_BYTES_MAX)
        self.config.update(
            BODY_TIMEOUT=_BODY_S,
            MAX_CONTENT_LENGTH=BUNDLE_BYTES_MAX * JSON_FACTOR,
            PROVIDE_AUTOMATIC_OPTIONS=False,
            RESPONSE_TIMEOUT=_RESPONSE_S,
        )
        self.url_map.merge_slashes = False  # or "//" is answered with a redirection, in HTML

    def create_url_adapter(self, request: Any) -> MapAdapter | None:
        """Routes do not depend on the Host header, in which a client may put anything."""
        if request is None:
            return None
        return self.url_map.bind("localhost", path_info=request.path, default_method=request.method)


async def _add_headers(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


class Face(Protocol):
    """Some paths, and what is answered there."""

    def add_routes(self, app: QuartTrio) -> None: ...


def create_app(gateway: Gateway, *, answer_s: float = ANSWER_S, more: Sequence[Face] = ()) -> HttpFace:
    """The HTTP face of an open provider. `answer_s`: how long a client waits for a receipt, in seconds.

    `more`: faces that a provider need not have.
    """
    app = HttpFace()
    tokens, audit_tokens = Tokens(), Tokens()
    handle_errors(app)
    app.after_request(_add_headers)
    faces: tuple[Face, ...] = (
        Submissions(gateway, answer_s),
        Sessions(gateway, tokens, audit_tokens),
        Mailboxes(gateway, tokens),
        Audits(gateway, audit_tokens),
        History(gateway),
        Prekeys(gateway),
        Complaints(gateway, answer_s),
        Health(gateway),
        *more,
    )
    for face in faces:
        face.add_routes(app)
    return app
