"""The state of a client, and how others watch it, or anything else that changes, without missing a change.

Knows nothing of what leads from one state to the next.
"""

from collections.abc import AsyncIterator
from enum import Enum
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class ClientState(Enum):
    CONNECTING = "connecting"  # opening a connection
    SYNCING = "syncing"  # connected; catching up with the mailbox
    LIVE = "live"  # everything that the provider attested is verified and stored
    BACKOFF = "backoff"  # no connection; waiting before the next attempt
    CLOSED = "closed"  # for good: closed by the application, or failed


class _Moment(Generic[T]):
    """A value, and the moment that followed it."""

    __slots__ = ("is_last", "next", "passed", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self.is_last = False
        self.passed = trio.Event()
        self.next: _Moment[T] | None = None


class ChangeLog(Generic[T]):
    """A present value, and for each watcher every value since it began to watch, in order."""

    def __init__(self, first: T) -> None:
        self._now = _Moment(first)

    @property
    def value(self) -> T:
        return self._now.value

    def enter(self, value: T) -> None:
        """Entering the present value again changes nothing, and after the end nothing does."""
        if self.value == value or self._now.is_last:
            return
        before, self._now = self._now, _Moment(value)
        before.next = self._now
        before.passed.set()

    def end(self) -> None:
        """There will be no other value."""
        self._now.is_last = True
        self._now.passed.set()

    def watch(self) -> AsyncIterator[T]:
        """The present value, then every later one, to the end."""
        return _Watch(self._now)


class _Watch(AsyncIterator[T]):
    """Holds on to the moment that it showed last, so that none can pass unseen."""

    def __init__(self, first: _Moment[T]) -> None:
        self._first: _Moment[T] | None = first
        self._last = first

    async def __anext__(self) -> T:
        await trio.lowlevel.checkpoint()
        if self._first is not None:
            self._first = None
            return self._last.value
        await self._last.passed.wait()
        if self._last.next is None:
            raise StopAsyncIteration
        self._last = self._last.next
        return self._last.value
