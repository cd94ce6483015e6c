"""A delta that the follower refused, and what the provider stands by in it all the same.

Knows nothing of peers but their ids. What a refused delta commits to may contradict what others were given: that is
how an altered message becomes a proof, though the altered message itself verifies nowhere.
"""

from contextlib import suppress
from typing import NamedTuple

from noise.protocol.delta import Delta, RecipientLists
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.accuse import testify_refused
from noise.protocol.evidence.lenient import Committed, committed_leaves, finder
from noise.protocol.evidence.material import EvidenceUnavailable, Material
from noise.protocol.evidence.testimony import Testimony
from noise.protocol.statements import MESSAGE_LEAF
from noise.protocol.trust import Trusted

_SEQS_MAX = 64
_PEERS_MAX = 64


class Refused(NamedTuple):
    """With what was trusted and kept when it came."""

    trusted: Trusted
    delta: Delta
    lists: RecipientLists
    material: Material

    def testify(self, seq: bytes, peer: bytes) -> Testimony:
        """What the provider stands by there, though it does not verify. Raises EvidenceUnavailable."""
        return testify_refused(self.trusted, self.delta, self.lists, seq, peer, self.material)

    def testify_against(self, seq: bytes, peer: bytes) -> Testimony:
        """To compare with what `peer` has there: also about a message that is for others, as we were shown it."""
        try:
            return self.testify(seq, peer)
        except EvidenceUnavailable as error:
            if error.code != "evidence-private":
                raise
            return self.testify(seq, self.material.mailbox)

    def seqs(self) -> list[bytes]:
        """Of the messages that it commits to."""
        return [MESSAGE_LEAF.decode(c.leaf).seq for c in self._committed()][:_SEQS_MAX]

    def peers(self) -> list[bytes]:
        """Who should have messages that it commits to."""
        found = {device_id for c in self._committed() for device_id in c.recipients.device_ids}
        return sorted(found - {self.material.mailbox})[:_PEERS_MAX]

    def _committed(self) -> list[Committed]:
        origin, mailbox, find = self.material.origin, self.material.mailbox, finder(self.delta, self.lists)
        found: list[Committed] = []
        for entry in self.delta.history:
            with suppress(NoiseError):
                found += committed_leaves(entry, origin, mailbox, find)
        return found
