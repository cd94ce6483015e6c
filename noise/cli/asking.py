"""Asks a provider over HTTP, for the commands that look at one from outside.

Knows nothing of what is asked, and trusts nothing: every answer is checked by whoever asked for it. The only file of
the server's side that imports httpx.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
import trio

from noise.protocol.encoding import Codec
from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.json_text import parse_json
from noise.protocol.limits import FRAME_BYTES_MAX

T = TypeVar("T")

BINARY = "application/octet-stream"
_ANSWER_S = 60.0


class NoAnswer(NoiseError):
    """The provider cannot be reached, refuses, or says what makes no sense."""

    default_code = "unreachable"


class Asking:
    """Made by `open_asking`. Every call raises NoAnswer."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.host = http.base_url.netloc.decode("ascii")

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        accept: str = BINARY,
        more: dict[str, str] | None = None,
    ) -> bytes:
        """The body of a successful answer."""
        headers = {"Accept": accept} | ({"Content-Type": BINARY} if body is not None else {}) | (more or {})
        data = bytearray()
        try:
            with trio.fail_after(_ANSWER_S):
                async with self._http.stream(method, path, content=body, headers=headers) as response:
                    async for chunk in response.aiter_raw():
                        data += chunk
                        if len(data) > FRAME_BYTES_MAX:
                            raise NoAnswer(f"the answer to {path} has no end")
        except trio.TooSlowError:
            raise NoAnswer(f"no whole answer to {path} in {_ANSWER_S:.0f} s") from None
        except (httpx.HTTPError, UnicodeError) as error:
            raise NoAnswer(f"no answer to {path}: {error}") from None
        if not response.is_success:
            raise _refusal(response.status_code, bytes(data))
        return bytes(data)

    async def get(self, codec: Codec[T], path: str) -> T:
        """What a path shows, decoded."""
        return decode_answer(codec, await self.ask("GET", path))

    async def post(self, codec: Codec[T], path: str, body: bytes) -> T:
        """The answer to what is sent, decoded."""
        return decode_answer(codec, await self.ask("POST", path, body))


def decode_answer(codec: Codec[T], data: bytes) -> T:
    """Raises NoAnswer."""
    try:
        return codec.decode(data)
    except DecodeError as error:
        raise NoAnswer(f"an answer makes no sense: {error.detail}", code="bad-answer") from None


def _refusal(status: int, body: bytes) -> NoAnswer:
    """A problem (RFC 9457) as its code, anything else as its status. It ends up on a terminal."""
    try:
        problem: Any = parse_json(body)
        detail, code = problem["detail"], problem["code"]
        if detail.isprintable() and code.isprintable():
            return NoAnswer(detail, code=code)
    except (DecodeError, TypeError, KeyError, AttributeError):
        pass
    known = {one.value: one.phrase for one in HTTPStatus}
    return NoAnswer(f"the provider answers with HTTP status {status} {known.get(status, '')}".rstrip())


@asynccontextmanager
async def open_asking(url: str) -> AsyncIterator[Asking]:
    """Connections to the provider at `url`, until the block ends. Raises NoAnswer."""
    try:
        http = httpx.AsyncClient(base_url=url, timeout=_ANSWER_S, follow_redirects=False, trust_env=False)
    except (httpx.InvalidURL, ValueError) as error:
        raise NoAnswer(f"{url} is no URL: {error}", code="bad-option") from None
    async with http:
        yield Asking(http)
