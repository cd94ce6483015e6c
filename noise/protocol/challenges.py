"""Challenges: what asks an actor to show what it was given and what it made of it, for everybody to see.

Knows nothing of custody, proofs or transport. A challenge asks one actor about one message and one mailbox. All that
were ever opened are in a state map: key `H("challenge", challenge)`, value hash `H("challenge", state)`. Every epoch
record holds its root, so everybody sees what is open, until when, and what was answered.
"""

from typing import Annotated, NamedTuple

from noise.protocol.encoding import U32, U64, Bytes5, Bytes16, Bytes32, Bytes64, embedded, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.identifiers import NO_EPOCH, parse_seq
from noise.protocol.signing import hasher
from noise.protocol.stages import way_of
from noise.protocol.state_map import EMPTY_HASH
from noise.protocol.statements import Roster

NO_CHALLENGES = EMPTY_HASH
"""`challenges_root` of a record before the first challenge."""

NO_ANSWER = bytes(32)

hash_challenge = hasher("challenge")
"""Of an encoded Challenge: its key; of an encoded ChallengeState: its value hash; of an answer: its `answer_hash`."""

hash_complaint = hasher("complaint")
"""Of a proof of misbehaviour: by this name its provider is asked about it."""


class Challenge(NamedTuple):
    """What did this incarnation of `actor` have to do with `seq` and `mailbox`? `epoch`: that of the seq."""

    origin: Bytes32
    actor: Bytes5
    incarnation: U32
    epoch: U64
    seq: Bytes16
    mailbox: Bytes32


def _check_challenge(challenge: Challenge) -> None:
    if parse_seq(challenge.seq)[0] != challenge.epoch:
        raise DecodeError("a challenge is about the epoch of its seq")


CHALLENGE = struct_codec(Challenge, record_type=28, check=_check_challenge)


class ChallengeState(NamedTuple):
    """What became of a challenge. Answered in `deadline_epoch` at the latest, it was in time.

    `answered_epoch`: NO_EPOCH while it is open, and then `answer_hash` is NO_ANSWER.
    """

    opened_epoch: U64
    deadline_epoch: U64
    answered_epoch: U64
    answer_hash: Bytes32

    @property
    def is_open(self) -> bool:
        return self.answered_epoch == NO_EPOCH


def _check_state(state: ChallengeState) -> None:
    if state.opened_epoch > state.deadline_epoch or state.opened_epoch >= state.answered_epoch:
        raise DecodeError("a challenge ends before it begins")
    if state.is_open != (state.answer_hash == NO_ANSWER):
        raise DecodeError("a challenge is open until it is answered")


CHALLENGE_STATE = struct_codec(ChallengeState, record_type=29, check=_check_state)


class ChallengeReceipt(NamedTuple):
    """The log's promise: the challenge is in the record of `by_epoch`, and in every later one."""

    origin: Bytes32
    actor: Bytes5
    incarnation: U32
    challenge_hash: Bytes32
    by_epoch: U64


CHALLENGE_RECEIPT = struct_codec(ChallengeReceipt, record_type=30)


class SignedChallengeReceipt(NamedTuple):
    """Signed under "challenge"."""

    body: Annotated[bytes, embedded(CHALLENGE_RECEIPT)]
    signature: Bytes64


SIGNED_CHALLENGE_RECEIPT = struct_codec(SignedChallengeReceipt)


class AdmissionBody(NamedTuple):
    """An actor accepts the blame for what a proof shows. `epoch`: that of the proof's verdict."""

    origin: Bytes32
    actor: Bytes5
    incarnation: U32
    epoch: U64
    proof_hash: Bytes32


ADMISSION_BODY = struct_codec(AdmissionBody, record_type=31)


class SignedAdmission(NamedTuple):
    """Signed under "admission". `proof_hash` is `hash_complaint` of the proof."""

    body: Annotated[bytes, embedded(ADMISSION_BODY)]
    signature: Bytes64


SIGNED_ADMISSION = struct_codec(SignedAdmission)


def is_on_the_way(challenge: Challenge, roster: Roster) -> bool:
    """Whether the challenged incarnation had to do with the challenge's message and mailbox.

    `roster`: the one in force in the challenge's epoch.
    """
    way = [actor.encode() for actor in way_of(roster, challenge.seq, challenge.mailbox)]
    signers = {entry.actor: entry.incarnation for entry in roster.actors}
    return challenge.actor in way and signers.get(challenge.actor) == challenge.incarnation


def is_answerable(epoch: int, deadline_epoch: int, *rosters: Roster) -> bool:
    """Whether what actors keep of `epoch` is kept until the deadline, by the parameters of all of these rosters."""
    return deadline_epoch <= epoch + min(roster.parameters.custody_epochs for roster in rosters)
