"""The lies that stages tell in the tests: a message left out, put in, changed, or sent to the wrong outbox.

Knows nothing of how they are found out. Each is a function for `World.run`.
"""

from typing import Any

from noise.protocol.evidence.stage_views import Question
from noise.protocol.identifiers import Actor
from noise.protocol.statements import MESSAGE_LEAF
from tests.protocol.evidence.stage_world import SEQUENCED, Content, Lie
from tests.vectors.cast import filler


def changed(leaf: bytes, **changes: Any) -> bytes:
    """The leaf with other fields."""
    return MESSAGE_LEAF.encode(MESSAGE_LEAF.decode(leaf)._replace(**changes))


def drop(question: Question) -> Lie:
    """The message does not reach its mailbox."""

    def lie(content: Content) -> None:
        leaves = content[question.mailbox]
        leaves[:] = [leaf for leaf in leaves if MESSAGE_LEAF.decode(leaf).seq != question.seq]
        if not leaves:
            del content[question.mailbox]

    return lie


def alter(question: Question) -> Lie:
    """The message reaches its mailbox with another payload."""

    def lie(content: Content) -> None:
        leaves = content[question.mailbox]
        is_it = [MESSAGE_LEAF.decode(leaf).seq == question.seq for leaf in leaves]
        leaves[is_it.index(True)] = changed(leaves[is_it.index(True)], payload_hash=filler("altered", 32))

    return lie


def insert(question: Question, leaf: bytes) -> Lie:
    """This message reaches the mailbox at the question's seq."""

    def lie(content: Content) -> None:
        leaves = content.setdefault(question.mailbox, [])
        leaves.append(changed(leaf, seq=question.seq))
        leaves.sort(key=lambda one: MESSAGE_LEAF.decode(one).seq)

    return lie


def misroute(question: Question, to: Actor) -> Lie:
    """A router sends the message to another outbox."""

    def lie(contents: dict[Actor, Content]) -> None:
        own = next(outbox for outbox, content in contents.items() if question.mailbox in content)
        is_it = [MESSAGE_LEAF.decode(leaf).seq == question.seq for leaf in contents[own][question.mailbox]]
        leaf = contents[own][question.mailbox][is_it.index(True)]
        drop(question)(contents[own])
        insert(question, leaf)(contents[to])

    return lie


def at(outbox: Actor, lie: Lie) -> Lie:
    """A lie of a router, in what it sorts to one outbox."""
    return lambda contents: lie(contents[outbox])


def resequence(place: int, **changes: Any) -> Lie:
    """An inbox's: message `place` of its lane gets other fields."""

    def lie(content: Content) -> None:
        content[SEQUENCED][place] = changed(content[SEQUENCED][place], **changes)

    return lie
