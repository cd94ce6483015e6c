"""A condition that many tasks may wait for, again and again.

Knows nothing of what changed. Nothing is missed by `while not wanted(): await changed.wait()`: no other task runs
between the question and the wait.
"""

import trio


class Changed:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def notify(self) -> None:
        """Wake everybody who waits now."""
        event, self._event = self._event, trio.Event()
        event.set()

    def next(self) -> trio.Event:
        """What the next `notify` sets: to begin to wait before doing something that takes time."""
        return self._event

    async def wait(self) -> None:
        """Until the next `notify`."""
        await self._event.wait()
