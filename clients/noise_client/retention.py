"""How long a client keeps what its provider has said: one policy object each for the three ways, and their combination.

Knows nothing of where it is kept. A policy answers one question: from which history record on is everything kept? What
lies before is forgotten, but for the compact range over it: the provider's signed history root still commits to all of
it, and a provider that is asked must produce it again.
"""

from typing import NamedTuple, Protocol

WINDOW_EPOCHS = 1_000_000
"""The default cap: at 20 ms an epoch under full load some five hours, at one epoch a second eleven days."""


class Standing(NamedTuple):
    """What a policy may look at. `epochs`: of each kept record, by index, the first being record `first_k`.

    `stable_k`: all records before it are stable: with every recipient of their messages, a cut beyond them matched.
    `epoch`: the last one that is verified. `needed_k`: from there on records are needed, for an open dispute, or for a
    receipt that is still to come.
    """

    first_k: int
    epochs: list[int]
    stable_k: int
    epoch: int
    needed_k: int = 2**63

    @property
    def next_k(self) -> int:
        return self.first_k + len(self.epochs)


class Policy(Protocol):
    """Pure."""

    def keep_from(self, standing: Standing) -> int:
        """The first record that is kept, between `first_k` and `next_k`."""


class Window(NamedTuple):
    """Keep the last `epochs_max` epochs, and nothing older: a hard cap on space, whatever anybody does."""

    epochs_max: int = WINDOW_EPOCHS

    def keep_from(self, standing: Standing) -> int:
        first_epoch = standing.epoch - self.epochs_max + 1
        return standing.first_k + sum(1 for epoch in standing.epochs if epoch < first_epoch)


class Stability:
    """Keep a message until every recipient has compared its chain beyond it with ours, and found them equal."""

    def keep_from(self, standing: Standing) -> int:
        return max(standing.first_k, min(standing.stable_k, standing.needed_k))


class Cumulative:
    """Keep no message at all: state, head, path and compact range commit to them."""

    def keep_from(self, standing: Standing) -> int:
        return max(standing.first_k, min(standing.next_k, standing.needed_k))


class Layered(NamedTuple):
    """Cumulative behind the stability cut, everything in the tail after it, and a window as the cap."""

    cap: Window = Window()

    def keep_from(self, standing: Standing) -> int:
        return max(Stability().keep_from(standing), self.cap.keep_from(standing))


DEFAULT_POLICY = Layered()
