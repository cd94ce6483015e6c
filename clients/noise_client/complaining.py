"""Asks a provider that is convicted which of its actors lied, and challenges in its log those that do not say.

Knows nothing of who may be blamed for what: `noise.protocol.inquiry` judges, and believes no answer. One complaint at a
time, in a task of its own, each bounded and tried again ever more seldom: a provider that answers nothing, nonsense, or
slowly keeps nobody waiting. What is found out is handed to the witness.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar, TypeVarTuple

import trio

from noise.protocol.challenges import CHALLENGE, CHALLENGE_STATE, ChallengeState, hash_challenge
from noise.protocol.delta import SignedRoster
from noise.protocol.encoding import Codec
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.blame import UNRESPONSIVE, Blame, questions_of
from noise.protocol.evidence.proof import PROOF
from noise.protocol.identifiers import parse_seq
from noise.protocol.inquiry import Inquiry, OpenChallenge
from noise.protocol.signing import Signed
from noise.protocol.statements import ROSTER, Roster, open_roster
from noise_client.backoff import Backoff
from noise_client.changed import Changed
from noise_client.provider_http import ProviderHttp
from noise_client.trust_store import StoreCalls
from noise_client.witness import Witness

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_COMPLAINT_S = 120.0
"""For one try, with all its questions."""

_RETRY_MAX_S = 600.0

_OPENED_MAX = 64
"""Challenges whose receipts are kept: they convict a sequencer that hides one."""

_ROSTERS_MAX = 64

_STATE: Codec[ChallengeState] = CHALLENGE_STATE


class _Found(NamedTuple):
    """`due_epoch`: when this is verified, there may be more to find out."""

    blame: Blame
    due_epoch: int


class _Later:
    """When a case is looked at again: not before a moment, and not before an epoch is verified."""

    def __init__(self, first_s: float) -> None:
        self._backoff = Backoff(first_s, _RETRY_MAX_S)
        self.due_s = trio.current_time()
        self.due_epoch = -1

    def put_off(self, due_epoch: int) -> None:
        self.due_s = trio.current_time() + self._backoff.next_s()
        self.due_epoch = due_epoch


class Complaining:
    """`witness`, `http`: as they are now. `changed`: whenever the witness was handed something. `on_found`: called
    after the witness was handed what a complaint led to."""

    def __init__(
        self,
        calls: StoreCalls,
        witness: Callable[[], Witness | None],
        http: Callable[[], ProviderHttp],
        changed: Changed,
        on_found: Callable[[], None],
        retry_first_s: float,
    ) -> None:
        self._calls = calls
        self._witness = witness
        self._http = http
        self._changed = changed
        self._on_found = on_found
        self._retry_first_s = retry_first_s
        self._later: dict[bytes, _Later] = {}
        self._opened: OrderedDict[bytes, OpenChallenge] = OrderedDict()
        self._one_at_a_time = trio.Lock()
        self._thinking = trio.CapacityLimiter(1)

    async def run(self) -> None:
        """Complain about whatever the witness can prove of the provider, and of none of its actors. For ever."""
        while True:
            changed = self._changed.next()
            witness = self._witness()
            cases = witness.cases if witness is not None else ()
            self._later = {case: self._later.get(case) or _Later(self._retry_first_s) for case in cases}
            size = witness.trusted.log.size if witness is not None else 0
            waiting = [(later.due_s, case) for case, later in self._later.items() if later.due_epoch < size]
            due_s, case = min(waiting, default=(float("inf"), b""))
            if witness is not None and due_s <= trio.current_time():
                await self._try(witness, case)
                continue
            with trio.move_on_at(due_s):
                await changed.wait()

    async def _try(self, witness: Witness, case: bytes) -> None:
        later, due_epoch = self._later[case], -1
        with trio.move_on_after(_COMPLAINT_S), suppress(NoiseError):
            due_epoch = (await self._complain(witness, case)).due_epoch
        later.put_off(due_epoch)

    async def complain(self, proof: bytes) -> Blame:
        """Ask all actors about a proof, now. Raises NoiseError when it convicts nobody, or the provider takes none."""
        witness = self._witness()
        if witness is None:
            raise NoiseError("no provider was ever verified: connect first", code="no-provider")
        return (await self._complain(witness, proof)).blame

    async def _complain(self, witness: Witness, proof: bytes) -> _Found:
        async with self._one_at_a_time:
            found = await self._ask(witness, proof)
            if found.blame.kind != UNRESPONSIVE:
                await self._calls.run(witness.note_blame, proof, found.blame.proof)
        self._on_found()
        return found

    async def _ask(self, witness: Witness, proof: bytes) -> _Found:
        questions = await self._think(questions_of, proof, witness.origin)
        if not questions:
            inquiry = await self._think(Inquiry, witness.origin, proof, ())
            return _Found(await self._think(inquiry.judge), -1)
        http = self._http()
        rosters = await self._collect_rosters(witness, proof)
        first_epoch = min(parse_seq(question.seq)[0] for question in questions)
        if not rosters or ROSTER.decode(rosters[0].body).valid_from_epoch > first_epoch:
            raise NoiseError("no roster is shown that was in force when this happened", code="no-roster")
        inquiry = await self._think(Inquiry, witness.origin, proof, rosters)
        complaint = await http.complain(proof)
        for admission in complaint.admissions:
            await self._think(inquiry.take_admission, admission)
        for epoch in inquiry.epochs():
            with suppress(NoiseError):
                inquiry.take_statements(await http.statements(epoch))
        for actor in inquiry.actors():
            with suppress(NoiseError):  # who does not answer is challenged
                inquiry.take_answers(await http.custody(complaint.complaint_id, actor))
        blame = await self._think(inquiry.judge)
        if blame.kind != UNRESPONSIVE:
            return _Found(blame, -1)
        return await self._challenge(witness, inquiry, complaint.complaint_id, blame)

    async def _challenge(self, witness: Witness, inquiry: Inquiry, complaint_id: bytes, blame: Blame) -> _Found:
        """Ask the silent actor in the log, once, and look what came of it."""
        challenge = inquiry.challenge(blame)
        body = CHALLENGE.encode(challenge)
        opened = self._opened.get(hash_challenge(body))
        if opened is None:
            receipt = await self._http().open_challenge(complaint_id, body)
            opened = await self._think(inquiry.check_receipt, challenge, receipt)
            self._opened[opened.key] = opened
            while len(self._opened) > _OPENED_MAX:
                self._opened.popitem(last=False)
        status = await self._http().challenge_status(complaint_id, opened.key)
        found = await self._think(inquiry.take_status, opened, status, blame)
        if found is not None:
            return _Found(found, -1)
        if not status.answer:
            return _Found(blame, self._due_epoch(witness, status.state))
        again = await self._think(inquiry.judge)
        if again.kind == UNRESPONSIVE and (again.actor, again.question) != (blame.actor, blame.question):
            return await self._challenge(witness, inquiry, complaint_id, again)
        return _Found(again, -1)

    @staticmethod
    def _due_epoch(witness: Witness, state: bytes) -> int:
        """The deadline of a challenge in this state; -1: it is not known. No later than an honest one can be."""
        if not state or not witness.trusted.rosters:
            return -1
        challenge_epochs = ROSTER.decode(witness.trusted.rosters[-1].body).parameters.challenge_epochs
        return min(_STATE.decode(state).deadline_epoch, witness.trusted.log.size + challenge_epochs)

    async def _collect_rosters(self, witness: Witness, proof: bytes) -> list[SignedRoster]:
        """Those that the proof needs, those that we trust, and what the provider shows of others, in order."""
        shown = [*PROOF.decode(proof).rosters, *(SignedRoster(*signed) for signed in witness.trusted.rosters)]
        with suppress(NoiseError):
            shown += (await self._http().rosters())[-_ROSTERS_MAX:]
        return await self._think(_order_rosters, witness.origin, shown)

    async def _think(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """In a thread, and not waited for when we end: what a liar answers can take long to check."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._thinking, abandon_on_cancel=True)


def _order_rosters(origin: bytes, shown: Sequence[SignedRoster]) -> list[SignedRoster]:
    """Those that are the origin's own, by version."""
    opened: dict[SignedRoster, Roster] = {}
    for signed in dict.fromkeys(shown):
        with suppress(NoiseError):
            opened[signed] = open_roster(Signed(*signed), origin)
    return sorted(opened, key=lambda signed: (opened[signed].version, signed.body))
