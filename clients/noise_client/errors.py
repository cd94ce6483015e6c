"""What can go wrong in the SDK, beyond what `noise.protocol` already names. Every error has a stable code.

Knows nothing of sockets, files or the command line.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import trio

from noise.protocol.errors import NoiseError


class TrustStoreError(NoiseError):
    """A device file that cannot be made, opened, read or written."""

    default_code = "store-failed"


class LinkError(NoiseError):
    """There is no connection to the provider, or no longer one.

    `close_code`: the WebSocket close code, where the provider sent one. `is_final`: trying again will not help.
    """

    default_code = "link-closed"

    def __init__(
        self, detail: str, *, code: str | None = None, close_code: int | None = None, is_final: bool = False
    ) -> None:
        super().__init__(detail, code=code)
        self.close_code = close_code
        self.is_final = is_final


class DeadlineExceeded(NoiseError):
    """A call took longer than its caller allowed. What it had begun goes on."""

    default_code = "deadline"


class ClientClosed(NoiseError):
    """The client was closed. What was durable before is sent, or yielded, when the device is opened again."""

    default_code = "client-closed"


def lone_exception(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The only exception in a group that is no cancellation, or None when there are more, or none."""
    _, rest = group.split(trio.Cancelled)
    while isinstance(rest, BaseExceptionGroup) and len(rest.exceptions) == 1:
        inner = rest.exceptions[0]
        if not isinstance(inner, BaseExceptionGroup):
            return inner
        rest = inner
    return None


def raise_alone(error: BaseException) -> NoReturn:
    """Raise an exception out of the group that is being handled, as if there had never been one."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context


@contextmanager
def deadline(seconds: float, missed: str) -> Iterator[None]:
    """Raise DeadlineExceeded when the block takes longer than `seconds`. `missed`: what did not happen in time."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise DeadlineExceeded(f"{missed} within {seconds:g} s") from None
