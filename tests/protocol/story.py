"""A short story of a provider, a client that has verified some of it, and how the client meets a lie about its end.

Knows nothing of any particular lie.
"""

from functools import cache
from typing import Any

import pytest

from noise.protocol.delta import DELTA, Delta, RecipientLists
from noise.protocol.envelope import Bundle
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.follower import Follower, new_lists
from noise.protocol.merkle import tree_root
from noise.protocol.trust import encode_trusted
from tests.protocol.liar import Liar, Lie, Told
from tests.vectors.cast import ORIGIN, bundle_of, device_of, draft_of, recipients_of

ALICE, BOB, DAVE = map(device_of, ("alice", "bob", "dave"))
LAST = 5
OTHER_ROOT = tree_root([bytes(32)])


def letter(sender: str, first_ctr: int, *texts: bytes, to: tuple[str, ...] = ("alice", "bob"), own: int = 0) -> Bundle:
    return bundle_of(sender, [draft_of(recipients_of(*to), text, own) for text in texts], first_ctr)


def tell_story(n_outboxes: int = 1, until: int = LAST) -> Liar:
    """Six epochs. Something arrives for bob in 0, 2, 4 and 5, for dave never."""
    liar = Liar(n_outboxes)
    epochs: list[list[Bundle]] = [
        [letter("alice", 1, b"one", b"two", own=8)],
        [],
        [letter("carol", 1, b"three", to=("bob", "carol")), letter("alice", 3, b"four", to=("alice", "bob", "carol"))],
        [],
        [letter("bob", 1, b"five", own=16)],
        [letter("alice", 4, b"six", b"seven", own=8), letter("carol", 2, b"eight", to=("bob", "carol"))],
    ]
    for bundles in epochs[: until + 1]:
        liar.commit(*bundles)
    return liar


@cache
def story() -> Liar:
    """Not to be changed."""
    return tell_story()


class Client:
    """A device that has verified all epochs before `n_epochs`, one by one."""

    def __init__(self, liar: Liar, n_epochs: int, mailbox: bytes = BOB) -> None:
        self.counters: dict[bytes, int] = {}
        self.lists = RecipientLists()
        self.texts: list[bytes] = []
        self.follower = Follower(ORIGIN, mailbox, last_counter=self.counters.get)
        for number in range(n_epochs):
            self.take(liar.delta(mailbox, self.follower.cursor, number=number))

    def take(self, delta: Delta) -> None:
        step = self.follower.check_delta(delta, self.lists)
        self.follower.adopt(step)
        self.lists.admit(new_lists(delta))
        self.counters.update(step.counters)
        self.texts += [delivery.common for delivery in step.deliveries]

    def refuses(self, delta: Delta, code: str) -> None:
        before, counters = encode_trusted(self.follower.trusted), dict(self.counters)
        with pytest.raises(ProviderMisbehaved) as caught:
            self.take(delta)
        assert caught.value.code == code, caught.value
        assert caught.value.evidence == (DELTA.encode(delta),)
        assert (encode_trusted(self.follower.trusted), self.counters) == (before, counters)


def check_lie(code: str, n_epochs: int = LAST, *, mailbox: bytes = BOB, told: Told | None = None, **lie: Any) -> None:
    """A client at `n_epochs` refuses the lie about the last epoch, and then believes the truth about it."""
    client = Client(story(), n_epochs, mailbox)
    cursor = client.follower.cursor
    client.refuses(story().delta(mailbox, cursor, told=told, lie=Lie(**lie)), code)
    client.take(story().delta(mailbox, cursor))
    assert client.follower.trusted.log.size == LAST + 1
