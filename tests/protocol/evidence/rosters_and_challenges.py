"""What convicts of the classes about rosters and challenges, one of each. All are about epoch LIED.

Knows nothing of how they are verified.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from noise.protocol.challenges import ADMISSION_BODY, AdmissionBody, SignedAdmission, hash_complaint
from noise.protocol.delta import SignedRoster
from noise.protocol.evidence.challenges import Admission
from noise.protocol.evidence.roster_lies import PosthumousStatement, RosterEquivocation
from noise.protocol.signing import Signed
from noise.protocol.statements import ROSTER, hash_roster
from tests.protocol.challenged import PATIENCE, Ledger, ask, opened_in, roster_of, sign_receipt, way_of
from tests.protocol.evidence.stage_convictions import BOB, OUTBOX, RECEIVER, honest, trail
from tests.protocol.story import LAST
from tests.vectors.cast import ORIGIN, actor_key, make_roster, sign_roster, signer_of

LIED = LAST


class Case(NamedTuple):
    """A finding, and the rosters whose keys signed it."""

    rosters: tuple[SignedRoster, ...]
    finding: Any


def _unanswered() -> Case:
    router = way_of(roster_of(), 0, BOB)[1]
    log, challenge, state = Ledger(), ask(router, LIED), opened_in(LIED + 1)
    for _ in range(LIED + 1):
        log.commit()
    log.commit({challenge: state})
    for _ in range(PATIENCE):
        log.commit()
    return Case(tuple(log.signed_rosters), log.unanswered(challenge, LIED + 1 + PATIENCE, LIED, state))


def _suppressed() -> Case:
    """Of two challenges one is in the log, and both were promised."""
    way = way_of(roster_of(), 0, BOB)
    log, left_out = Ledger(), ask(way[2], 0)
    for _ in range(LIED):
        log.commit()
    log.commit({ask(way[1], 0): opened_in(LIED)})
    return Case(tuple(log.signed_rosters), log.suppressed(sign_receipt(left_out, LIED), LIED))


def _admission() -> Case:
    """A receiver accepts the blame for a message that did not arrive."""
    proof = trail().case
    body = ADMISSION_BODY.encode(AdmissionBody(ORIGIN, RECEIVER.encode(), 0, LIED, hash_complaint(proof)))
    signed = SignedAdmission(*actor_key(RECEIVER).sign("admission", ORIGIN, body))
    return Case(tuple(SignedRoster(*one) for one in honest().rosters), Admission(proof, signed))


def _second_roster(**changes: Any) -> Signed:
    roster = make_roster(1, 1, 2, hash_roster(sign_roster(make_roster()).body))
    return sign_roster(roster._replace(**changes))


def _two_rosters() -> Case:
    rosters = (_second_roster(valid_from_epoch=LIED), _second_roster(valid_from_epoch=LIED + 1))
    one, other = (hash_roster(signed.body) for signed in rosters)
    return Case(tuple(SignedRoster(*signed) for signed in rosters), RosterEquivocation(one, other, None))


def _posthumous() -> Case:
    """A head of the second epoch in which the outbox has another key."""
    actors = tuple(
        entry._replace(incarnation=1, key=signer_of("the next outbox").public_key)
        if entry.actor == OUTBOX.encode()
        else entry
        for entry in make_roster().actors
    )
    log = Ledger(make_roster())
    for _ in range(LIED - 1):
        log.commit()
    log.change_roster(ROSTER.decode(_second_roster(actors=actors, valid_from_epoch=LIED - 1).body))
    record = log.opening(log.commit())
    older, newer = (hash_roster(signed.body) for signed in log.signed_rosters)
    finding = PosthumousStatement(older, newer, honest().epochs[LIED].made[OUTBOX].signed, None, record)
    return Case(tuple(log.signed_rosters), finding)


CASES: dict[str, Callable[[], Case]] = {
    "UnansweredChallenge": _unanswered,
    "SuppressedChallenge": _suppressed,
    "Admission": _admission,
    "RosterEquivocation": _two_rosters,
    "PosthumousStatement": _posthumous,
}
"""By class."""


@cache
def case(name: str) -> Case:
    return CASES[name]()
