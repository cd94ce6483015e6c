"""Find the one actor behind a proof of misbehaviour: ask all of them what they did, and believe their signatures.

Sends the proof to the provider as a complaint, asks every actor on the message's way for its custody, and walks inbox,
router, receiver, outbox: the first whose signed output contradicts its signed input is named. Writes an enlarged proof
that noise verify accepts without a network. An actor that shows nothing is challenged, in the provider's log, for
everybody to see, and has until a deadline; then a file says that it is unresponsive, which is a suspicion and no lie.

Exit status 0: one actor is named. 1: it cannot be found out. 2: not a proof, or wrong usage. 3: an actor is
unresponsive.

example:
  noise blame alice.device.Omission-2.proof --server https://noise.example --origin ID
"""

import argparse
import json
import math
import sys
from pathlib import Path

import trio
from rich.console import Console

from noise.cli.asking import Asking, NoAnswer, open_asking
from noise.cli.options import parse_id_option
from noise.cli.verdict_text import describe_verdict, draw_way
from noise.protocol.challenges import (
    CHALLENGE,
    CHALLENGE_STATE,
    SIGNED_CHALLENGE_RECEIPT,
    Challenge,
    ChallengeState,
    SignedChallengeReceipt,
    hash_challenge,
)
from noise.protocol.checkpoint import parse_checkpoint
from noise.protocol.complaints import (
    CHALLENGE_STATUS,
    COMPLAINT_ANSWER,
    CUSTODY_ANSWERS,
    ChallengeStatus,
    ComplaintAnswer,
)
from noise.protocol.encoding import Codec
from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.evidence.blame import UNRESPONSIVE, Blame
from noise.protocol.evidence.proof import PROOF_BYTES_MAX, verify_proof
from noise.protocol.evidence.stage_views import CustodyAnswer
from noise.protocol.evidence.verdict import PROVIDER, NotProven
from noise.protocol.identifiers import format_id
from noise.protocol.inquiry import Inquiry
from noise.protocol.log_pages import EPOCH_STATEMENTS, ROSTERS, EpochStatements

_ANSWERS: Codec[tuple[CustodyAnswer, ...]] = CUSTODY_ANSWERS
_COMPLAINT: Codec[ComplaintAnswer] = COMPLAINT_ANSWER
_STATEMENTS: Codec[EpochStatements] = EPOCH_STATEMENTS
_RECEIPT: Codec[SignedChallengeReceipt] = SIGNED_CHALLENGE_RECEIPT
_STATE: Codec[ChallengeState] = CHALLENGE_STATE
_STATUS: Codec[ChallengeStatus] = CHALLENGE_STATUS

_POLL_S = 1.0
_WAIT_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the proof")
    parser.add_argument("--server", required=True, metavar="URL", help="the provider, or whoever answers for it")
    parser.add_argument("--origin", required=True, type=parse_id_option, metavar="ID", help="the provider's name")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the enlarged proof; default: FILE.blame")
    parser.add_argument(
        "--wait-s",
        type=_seconds,
        default=_WAIT_S,
        metavar="S",
        help="how long to wait for the deadline of an actor that does not answer; default %(default)s. Run the command "
        "again later: the challenge goes on",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, always with the same members")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


_seconds.__name__ = "number of seconds"  # what argparse calls it in its complaint


def run(arguments: argparse.Namespace) -> int:
    try:
        with arguments.file.open("rb") as file:
            proof = file.read(PROOF_BYTES_MAX + 1)
        verify_proof(proof, (arguments.origin,))
    except (OSError, DecodeError, NotProven) as error:
        print(f"noise blame: {arguments.file}: {error}", file=sys.stderr)
        return 2
    return _report(arguments, trio.run(_blame, arguments, proof))


class _Asker:
    """Asks, and says so. What is refused, or makes no sense, is said and else as if it had not come."""

    def __init__(self, asking: Asking, inquiry: Inquiry, complaint_id: str, console: Console) -> None:
        self._asking = asking
        self._inquiry = inquiry
        self._complaint_id = complaint_id
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    async def ask_all(self) -> None:
        """What is public, and then every actor on the way."""
        inquiry = self._inquiry
        for epoch in inquiry.epochs():
            try:
                inquiry.take_statements(await self._asking.get(_STATEMENTS, f"/v1/log/records/{epoch}"))
            except NoiseError as error:
                self.say(f"the statements of epoch {epoch} are not shown: {error}")
        for actor in inquiry.actors():
            self.say(f"asking {actor} ...")
            try:
                answers = await self._asking.get(_ANSWERS, f"/v1/custody/{self._complaint_id}/{actor}")
            except NoAnswer as error:
                self.say(f"  no answer: {error}")
                continue
            self.say(f"  {len(answers)} of {len(inquiry.questions)} questions answered")
            inquiry.take_answers(answers)

    async def challenge_all(self, blame: Blame, wait_s: float) -> Blame:
        """Challenge whoever is silent, one after the other, until somebody is named or the time is over."""
        challenged: set[bytes] = set()
        with trio.move_on_after(wait_s):
            while blame.kind == UNRESPONSIVE:
                try:
                    challenge = self._inquiry.challenge(blame)
                    key = hash_challenge(CHALLENGE.encode(challenge))
                    if key in challenged:
                        self.say(f"{blame.actor} has answered in the log, and nothing that helps")
                        break
                    challenged.add(key)
                    found = await self._challenge(blame, challenge)
                except NoiseError as error:
                    self.say(f"{blame.actor} cannot be challenged: {error}")
                    break
                if found is not None:
                    return found
                blame = self._inquiry.judge()
        return self._inquiry.judge()

    async def _challenge(self, blame: Blame, challenge: Challenge) -> Blame | None:
        """Ask a silent actor in the log, and wait until it answers (None), or its deadline has passed."""
        body, complaint = CHALLENGE.encode(challenge), f"/v1/complaints/{self._complaint_id}/challenges"
        opened = self._inquiry.check_receipt(challenge, await self._asking.post(_RECEIPT, complaint, body))
        with self._console.status(f"{blame.actor} is challenged") as shown:
            while True:
                status = await self._asking.get(_STATUS, f"{complaint}/{format_id(opened.key)}")
                found = self._inquiry.take_status(opened, status, blame)
                if found is not None or status.answer:
                    return found
                shown.update(f"{blame.actor} is challenged, and has {_time_left(status)}")
                await trio.sleep(_POLL_S)


async def _blame(arguments: argparse.Namespace, proof: bytes) -> Blame:
    async with open_asking(arguments.server) as asking:
        rosters = await asking.get(ROSTERS, "/v1/rosters")
        inquiry = Inquiry(arguments.origin, proof, rosters)
        if not inquiry.questions:
            return inquiry.judge()
        complaint = await asking.post(_COMPLAINT, "/v1/complaints", proof)
        for admission in complaint.admissions:
            inquiry.take_admission(admission)
        asker = _Asker(asking, inquiry, format_id(complaint.complaint_id), Console(stderr=True))
        await asker.ask_all()
        return await asker.challenge_all(inquiry.judge(), arguments.wait_s)


def _time_left(status: ChallengeStatus) -> str:
    """In epochs, for a person."""
    if not status.state:
        return "not been asked yet"
    deadline_epoch = _STATE.decode(status.state).deadline_epoch
    return f"{max(deadline_epoch - parse_checkpoint(status.log.note)[0].size + 1, 0)} epochs left"


def _report(arguments: argparse.Namespace, blame: Blame) -> int:
    """Write the enlarged proof, say who it was, and return the exit status."""
    output: Path = arguments.output or arguments.file.with_name(f"{arguments.file.name}.blame")
    is_named = bool(blame.proof) and blame.actor != PROVIDER
    if is_named:
        try:
            output.write_bytes(blame.proof)
        except OSError as error:
            print(f"noise blame: {output} cannot be written: {error.strerror}", file=sys.stderr)
            return 2
    if arguments.json:
        shown = {
            "actor": blame.actor,
            "kind": blame.kind,
            "epoch": str(blame.epoch),
            "is_proven": blame.is_proven,
            "file": str(output) if is_named else None,
        }
        print(json.dumps(shown))
    else:
        print("\n".join(_describe(arguments.origin, blame, output if is_named else None)))
    if blame.is_proven and is_named:
        return 0
    return 1 if blame.is_proven else 3


def _describe(origin: bytes, blame: Blame, output: Path | None) -> list[str]:
    if output is not None:
        verdict = verify_proof(blame.proof, (origin,))
        return [*describe_verdict(verdict), f"To check it: noise verify {output} --origin {format_id(origin)}"]
    if blame.kind == UNRESPONSIVE:
        return [
            f"UNRESPONSIVE: {blame.actor} has not shown yet what it did in epoch {blame.epoch}. That proves no lie.",
            *draw_way(blame.way),
            "Run this command again: what is challenged in the provider's log has a deadline.",
        ]
    return ["The proof convicts the provider, and what its actors show leads to none of them."]
