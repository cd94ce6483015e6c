"""Liars that need two messages in one epoch, and wait until they have them.

Knows nothing of what they do with the two. Two messages seldom meet in an epoch, so while it waits, the liar cuts no
epoch for a message that is alone in it, before the idle interval is over.
"""

from collections.abc import Callable, Sequence

from noise.demo.zoo.lie import Lie, replace
from noise.node import Node
from noise.pipeline.inbox import Inbox
from noise.protocol.envelope import Bundle
from noise.protocol.identifiers import Role


class Waiting(Lie):
    """Waits for bundles that victims receive along with others."""

    def change(self, node: Node) -> None:
        for inbox in node.pipeline.inboxes:
            replace(inbox, "_on_work", self._holding(node.pipeline.inboxes))

    def can_begin(self, bundles: Sequence[Bundle]) -> bool:
        """Whether these, which will pass the liar together, are enough."""
        raise NotImplementedError

    def concerns(self, bundle: Bundle) -> bool:
        """Whether the victim receives all of it, along with others."""
        return all(
            len(members.device_ids) > 1 and (self._victim is None or members.index(self._victim) >= 0)
            for members in bundle.recipients
        )

    def _waits(self, inboxes: list[Inbox]) -> bool:
        lanes = [[accepted.bundle for accepted in inbox._open.values()] for inbox in inboxes]
        everything = [bundle for lane in lanes for bundle in lane]
        if not self.is_armed or self.told or not all(self.concerns(bundle) for bundle in everything):
            return False
        together = lanes if Role.ROUTER in self.by else [everything]
        return not any(self.can_begin(bundles) for bundles in together)

    def _holding(self, inboxes: list[Inbox]) -> Callable[[Callable[[], None]], Callable[[], None]]:
        def make(notice_work: Callable[[], None]) -> Callable[[], None]:
            def notice() -> None:
                if self._waits(inboxes):
                    self.node.pipeline.sequencer._has_work = True  # stopping seals it all the same
                else:
                    notice_work()

            return notice

        return make
