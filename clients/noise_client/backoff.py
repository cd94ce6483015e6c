"""How long to wait before trying again: exponential backoff with full jitter.

Knows nothing of what is tried. Source: "Exponential Backoff And Jitter", AWS Architecture Blog (2015): a wait that is
uniform between zero and the bound spreads the clients of a restarted provider best.
"""

import random


class Backoff:
    """Waits of up to `first_s`, then up to twice that, and so on, up to `max_s`."""

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._bound_s = first_s

    def next_s(self) -> float:
        """How long to wait now, in seconds."""
        wait_s = random.uniform(0, self._bound_s)  # noqa: S311 (spreads load, hides nothing)
        self._bound_s = min(2 * self._bound_s, self._max_s)
        return wait_s

    def reset(self) -> None:
        """It worked: the next wait is short again."""
        self._bound_s = self._first_s
