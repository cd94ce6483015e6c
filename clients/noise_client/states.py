"""The state of a client, and how others watch it without missing a change.

Knows nothing of what leads from one state to the next.
"""

from collections.abc import AsyncIterator
from enum import Enum

import trio


class ClientState(Enum):
    CONNECTING = "connecting"  # opening a connection
    SYNCING = "syncing"  # connected; catching up with the mailbox
    LIVE = "live"  # everything that the provider attested is verified and stored
    BACKOFF = "backoff"  # no connection; waiting before the next attempt
    CLOSED = "closed"  # for good: closed by the application, or failed


class _Moment:
    """A state, and the moment that followed it."""

    __slots__ = ("next", "passed", "state")

    def __init__(self, state: ClientState) -> None:
        self.state = state
        self.passed = trio.Event()
        self.next: _Moment | None = None


class StateLog:
    """The present state, and for each watcher every state since it began to watch, in order."""

    def __init__(self) -> None:
        self._now = _Moment(ClientState.CONNECTING)

    @property
    def state(self) -> ClientState:
        return self._now.state

    def enter(self, state: ClientState) -> None:
        """CLOSED is never left, and entering the present state again changes nothing."""
        if self.state in (state, ClientState.CLOSED):
            return
        before, self._now = self._now, _Moment(state)
        before.next = self._now
        before.passed.set()

    def watch(self) -> AsyncIterator[ClientState]:
        """The present state, then every later one; ends after CLOSED."""
        return _Watch(self._now)


class _Watch(AsyncIterator[ClientState]):
    """Holds on to the moment that it showed last, so that none can pass unseen."""

    def __init__(self, first: _Moment) -> None:
        self._first: _Moment | None = first
        self._last = first

    async def __anext__(self) -> ClientState:
        await trio.lowlevel.checkpoint()
        if self._first is not None:
            self._first = None
            return self._last.state
        if self._last.state is ClientState.CLOSED:
            raise StopAsyncIteration
        await self._last.passed.wait()
        self._last = self._last.next or self._last
        return self._last.state
