"""The lies that people can have told at the demo, in their words, and who can tell each.

Knows nothing of how a lie is told: it names lies of the zoo that a browser and a bot can convict between them, by what
they hold themselves and tell each other in sealed messages.
"""

from typing import NamedTuple

from noise.demo.zoo.lie import Lie
from noise.demo.zoo.lies import make_lie
from noise.protocol.errors import Rejected
from noise.protocol.identifiers import Role
from noise.protocol.json_text import Json

MIDDLE = (Role.ROUTER, Role.RECEIVER, Role.OUTBOX)


class Offer(NamedTuple):
    """A lie of the zoo. `by`: whose actors can tell it, the usual ones first."""

    name: str
    title: str
    summary: str
    group: str
    by: tuple[Role, ...]

    def to_json(self) -> Json:
        return self._asdict() | {"by": [role.name.lower() for role in self.by]}


OFFERS = {
    offer.name: offer
    for offer in (
        Offer("drop-one", "Drop one message", "You never get a message that the others get.", "drop", MIDDLE),
        Offer(
            "change-sender",
            "Change a message",
            "In a message's place you get other words, which a device of the server's own has signed.",
            *("alter", MIDDLE),
        ),
        Offer(
            "swap-seqs",
            "Deliver in another order",
            "You get two messages the other way round, each in the other's place.",
            *("reorder", MIDDLE),
        ),
        Offer(
            "fork",
            "Show two histories",
            "The server shows you one history, and most of the bots another one.",
            *("fork", (Role.LOG,)),
        ),
        Offer(
            "rollback",
            "Forget the last epochs",
            "The server goes back to a backup, and other epochs take the place of those that you have seen.",
            *("roll back", (Role.LOG,)),
        ),
        Offer("insert", "Add a message", "You get a message to everybody that nobody else ever gets.", "more", MIDDLE),
        Offer(
            "duplicate",
            "Deliver a message twice",
            "You get a message a second time, in a place that was never given away.",
            *("more", (*MIDDLE, Role.INBOX)),
        ),
        Offer(
            "restart-mailbox",
            "Wipe a mailbox's past",
            "Your mailbox begins anew, as if it had never had a message.",
            *("more", (Role.OUTBOX,)),
        ),
        Offer(
            "resign",
            "Sign an epoch twice",
            "You are shown an epoch that you have seen a second time, with something else in it.",
            *("more", (Role.LOG,)),
        ),
    )
}


def offers_in(topology: str) -> dict[str, Offer]:
    """What can be told there. `central` has an epoch for each bundle: in none of them do two senders' messages meet."""
    return {name: offer for name, offer in OFFERS.items() if topology != "central" or name != "swap-seqs"}


def choose_lie(name: str, by: str | None, topology: str = "parallel") -> Lie:
    """A lie of the menu, not armed, told by actors of this role, or by the usual ones. Raises Rejected."""
    offers = offers_in(topology)
    offer = offers.get(name)
    if offer is None:
        raise Rejected(f"there is no such lie here: choose one of {', '.join(offers)}", code="unknown-lie")
    roles = {role.name.lower(): role for role in offer.by}
    if by is not None and by not in roles:
        raise Rejected(f"{name} is told by one of {', '.join(roles)}", code="no-such-liar")
    return make_lie(name, roles[by] if by else offer.by[0])
