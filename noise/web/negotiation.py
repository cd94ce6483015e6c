"""Octets or JSON: in which form a request's body came, and in which form its answer goes.

Knows nothing of what the structures say: their codecs do. Source: RFC 9110, sections 8.3, 8.4 and 12.5.1. The two
forms of a structure hold the same; large JSON is translated in a worker thread, a little at a time.
"""

from enum import Enum
from functools import partial
from http import HTTPStatus
from typing import Any

import trio
from quart import Response, request

from noise.protocol.encoding import Codec
from noise.protocol.errors import Rejected
from noise.protocol.json_text import encode_json, parse_json

_threads = trio.CapacityLimiter(2)  # a megabyte of JSON can take fifty of memory while it is read


class Form(Enum):
    """The media types of a structure's two faces."""

    BINARY = "application/octet-stream"
    JSON = "application/json"


def body_form() -> Form:
    """The form of the request's body. Raises Rejected."""
    try:
        form = Form(request.mimetype)
    except ValueError:
        raise Rejected(
            f"send Content-Type {Form.BINARY.value} or {Form.JSON.value}", code="unsupported-media-type"
        ) from None
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Rejected("send the body without a content coding", code="unsupported-media-type")
    return form


def answer_form(default: Form) -> Form:
    """The form that the client asks for, or `default` where it does not care. Raises Rejected."""
    if "Accept" not in request.headers:
        return default
    offered = sorted(Form, key=lambda form: form is not default)
    chosen = request.accept_mimetypes.best_match([form.value for form in offered])
    if chosen is None:
        raise Rejected(f"this answer comes as {Form.BINARY.value} or {Form.JSON.value}", code="not-acceptable")
    return Form(chosen)


async def read_encoded(codec: Codec[Any]) -> bytes:
    """The encoding of the structure in the request's body: octets as they came, JSON translated.

    Raises Rejected for other media types, DecodeError for JSON that is no such structure, HTTPException for a body that
    is too large or too slow.
    """
    form = body_form()
    data = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    if form is Form.BINARY:
        return data
    return await trio.to_thread.run_sync(partial(_encode_json_face, codec, data), limiter=_threads)


async def answer_encoded(codec: Codec[Any], encoded: bytes, form: Form, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """The response that carries an encoded structure in the form that was asked for."""
    body = encoded
    if form is Form.JSON:
        body = await trio.to_thread.run_sync(partial(_json_face, codec, encoded), limiter=_threads)
    return Response(body, status.value, {"Vary": "Accept"}, content_type=form.value)


def _encode_json_face(codec: Codec[Any], text: bytes) -> bytes:
    return codec.encode(codec.from_json(parse_json(text)))


def _json_face(codec: Codec[Any], encoded: bytes) -> bytes:
    return encode_json(codec.to_json(codec.decode(encoded)))
