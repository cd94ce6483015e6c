"""The texts of the readable faces, decoded strictly: base64url, decimal numbers, JSON.

Knows nothing of structures. Python's `int()`, `b64decode` and `json` are all too lax for bytes that get signed or
compared: these accept one text for each value and raise `DecodeError` for every other. Source: RFC 4648 section 5.
"""

import base64
import json
import re
from typing import Any, TypeAlias

from noise.protocol.errors import DecodeError

Json: TypeAlias = Any
"""What `json.loads` returns: typed only after a codec has read it."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*\Z")
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,19})\Z")


def base64url(data: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def parse_base64url(text: str) -> bytes:
    """The exact inverse of `base64url`; refuses padding, white space, other alphabets and loose trailing bits."""
    if not isinstance(text, str) or _BASE64URL.match(text) is None or len(text) % 4 == 1:
        raise DecodeError("not unpadded base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64url(data) != text:
        raise DecodeError("base64url with loose trailing bits")
    return data


def parse_decimal(text: str) -> int:
    """A canonical decimal of at most 20 digits: no sign, no leading zero, no white space, no underscore."""
    if not isinstance(text, str) or _DECIMAL.match(text) is None:
        raise DecodeError("not a canonical decimal number")
    return int(text)


def _no_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DecodeError("JSON object names a member twice")
    return members


def _no_float(_text: str) -> Json:
    raise DecodeError("JSON number that is not an integer")


def _integer(text: str) -> int:
    if text == "-0":
        raise DecodeError("JSON number with two spellings")
    return int(text)


def parse_json(data: bytes) -> Json:
    """JSON in UTF-8 without floats, NaN, -0, duplicate members or bottomless nesting. Raises DecodeError."""
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except (ValueError, RecursionError):
        raise DecodeError("not JSON in UTF-8") from None


def encode_json(value: Json) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
