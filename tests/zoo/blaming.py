"""Asks all actors that a message passed, over HTTP and the liar too, what a proof asks of them.

Knows nothing of which lie was told, and judges nothing.
"""

from collections.abc import Sequence

from noise.cli.asking import open_asking
from noise.protocol.complaints import COMPLAINT_ANSWER, CUSTODY_ANSWERS
from noise.protocol.delta import SignedRoster
from noise.protocol.encoding import Codec
from noise.protocol.evidence.stage_views import CustodyAnswer
from noise.protocol.identifiers import format_id
from noise.protocol.inquiry import Inquiry

_ANSWERS: Codec[tuple[CustodyAnswer, ...]] = CUSTODY_ANSWERS


async def gather_custody(url: str, origin: bytes, rosters: Sequence[SignedRoster], proof: bytes) -> list[CustodyAnswer]:
    """What everybody answers who had to do with it. `rosters`: all of the provider."""
    answers: list[CustodyAnswer] = []
    async with open_asking(url) as asking:
        complaint = await asking.post(COMPLAINT_ANSWER, "/v1/complaints", proof)
        for actor in Inquiry(origin, proof, rosters).actors() if complaint.questions else ():
            path = f"/v1/custody/{format_id(complaint.complaint_id)}/{actor}"
            shown = await asking.get(_ANSWERS, path)
            answers += shown
    return answers
