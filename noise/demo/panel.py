"""Lets the page ask for lies, and introduce itself to the bots. Only `noise demo` has it.

Knows nothing of how a lie is told. No other site can use it from somebody's browser: what changes anything is JSON,
which a cross-site form cannot send, from a page of this server, at an address that no other site's name can stand for.
"""

import re
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final, Protocol

from quart import Response, request
from quart_trio import QuartTrio

from noise.protocol.errors import DecodeError, Rejected
from noise.protocol.identifiers import parse_id
from noise.protocol.json_text import Json, encode_json, parse_json
from noise.web.negotiation import Form
from noise.web.query import read_query

LIE_PATH: Final = "/demo/lie"
RESET_PATH: Final = "/demo/reset"
HELLO_PATH: Final = "/demo/hello"
_NAME_CHARACTERS_MAX: Final = 64
_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(:[0-9]+)?")


class Liar(Protocol):
    """What the panel drives. See `noise.demo.house`."""

    def tell(self, name: str, by: str | None, victim: bytes | None) -> None: ...

    def start_over(self) -> None: ...

    def welcome(self, device_id: bytes, name: str) -> None: ...

    def picture(self) -> Json: ...


class PanelFace:
    """Three ways to change something, for whoever sits in front of the demo. `host`: what it listens at."""

    def __init__(self, liar: Liar, host: str = "localhost") -> None:
        self._liar = liar
        self._host = host

    def add_routes(self, app: QuartTrio) -> None:
        app.add_url_rule(LIE_PATH, view_func=self.post_lie, methods=["POST"])
        app.add_url_rule(RESET_PATH, view_func=self.post_reset, methods=["POST"])
        app.add_url_rule(HELLO_PATH, view_func=self.post_hello, methods=["POST"])

    async def post_lie(self) -> Response:
        """202 and the state. `{"name", "by": role or null, "victim": device id or null}`."""
        members = await _read_members(self._host, name=str, by=str | None, victim=str | None)
        victim = members["victim"]
        self._liar.tell(members["name"], members["by"], parse_id(victim) if victim is not None else None)
        return self._accepted()

    async def post_reset(self) -> Response:
        """202 and the last state of this provider. `{}`."""
        await _read_members(self._host)
        answer = self._accepted()
        self._liar.start_over()
        return answer

    async def post_hello(self) -> Response:
        """204. `{"device_id"}`, and `"name"` or none."""
        members = await _read_members(self._host, device_id=str, name=str | None)
        name = members["name"] or ""
        if len(name) > _NAME_CHARACTERS_MAX or not name.isprintable():
            raise Rejected(f"a name has at most {_NAME_CHARACTERS_MAX} printable characters", code="bad-request")
        self._liar.welcome(parse_id(members["device_id"]), name)
        return Response(b"", HTTPStatus.NO_CONTENT.value)

    def _accepted(self) -> Response:
        body = encode_json(self._liar.picture())
        return Response(body, HTTPStatus.ACCEPTED.value, content_type=Form.JSON.value)


def _is_own(host: str, own: str) -> bool:
    """Whether a Host header names an address, this machine or `own`: any other name may lead here from elsewhere."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found["name"].strip("[]").lower()
    try:
        ip_address(name)
    except ValueError:
        return name in {"localhost", own.lower()}
    return True


async def _read_members(own: str, **types: Any) -> dict[str, Any]:
    """The members of the JSON object in a request's body; None for one that may be missing, and is.

    Raises Rejected for what another site's page sent, for another form, and for anything else in the object.
    """
    read_query()
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    if not _is_own(host, own) or origin not in {None, f"http://{host}", f"https://{host}"}:
        raise Rejected("this is for pages of this server only, opened at the URL that it printed", code="foreign-page")
    if request.mimetype != Form.JSON.value:
        raise Rejected(f"send Content-Type {Form.JSON.value}", code="unsupported-media-type")
    given = parse_json(await request.get_data(cache=False, as_text=False, parse_form_data=False))
    if not isinstance(given, dict) or given.keys() - types.keys():
        raise DecodeError(f"an object with these members, and no others: {', '.join(types) or 'none'}")
    members = {name: given.get(name) for name in types}
    for name, kind in types.items():
        if not isinstance(members[name], kind):
            raise DecodeError(f"{name} is missing, or is not of its kind")
    return members
