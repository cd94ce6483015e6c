"""How a liar behaves when it is asked for its custody: it says nothing, says something late, or shows other bytes; or
others hide that it was asked.

Knows nothing of what it lied about. All others answer as honest actors do, from what they kept.
"""

from collections.abc import Awaitable, Callable

from noise.demo.zoo.forgery import shifted
from noise.demo.zoo.lie import Attitude, Lie, replace
from noise.pipeline.challenges import ChallengeBook, Desk, Entry
from noise.protocol.challenges import CHALLENGE, Challenge, ChallengeState, hash_challenge
from noise.protocol.encoding import Codec
from noise.protocol.evidence.stage_views import CustodyAnswer, Question, StageCustody
from noise.protocol.frames import SignedManifest
from noise.protocol.identifiers import NO_EPOCH, Actor, Role, parse_actor
from noise.protocol.statements import Roster
from noise.store.custody import Custody, CustodyRow

LATE_EPOCHS = 10

_CHALLENGE: Codec[Challenge] = CHALLENGE


def hide_custody(custody: Custody, lie: Lie) -> None:
    """Let liars find nothing of what they kept: never, or not before LATE_EPOCHS after they were asked first."""
    asked: list[int] = []

    def make(
        find: Callable[[bytes, int, int], Awaitable[CustodyRow | None]],
    ) -> Callable[[bytes, int, int], Awaitable[CustodyRow | None]]:
        async def hiding(actor: bytes, incarnation: int, epoch: int) -> CustodyRow | None:
            if actor in {liar.encode() for liar in lie.liars}:
                now = lie.node.pipeline.sequencer.log.size
                asked.append(now)
                if lie.attitude is not Attitude.LATE or now < asked[0] + LATE_EPOCHS:
                    return None
            return await find(actor, incarnation, epoch)

        return hiding

    if lie.attitude in {Attitude.SILENT, Attitude.LATE, Attitude.SUPPRESSED}:
        replace(custody, "find", make)


def garble_custody(desk: Desk, lie: Lie) -> None:
    """Let liars show other bytes than those that they signed."""

    def make(
        answer: Callable[[Actor, Question], Awaitable[CustodyAnswer | None]],
    ) -> Callable[[Actor, Question], Awaitable[CustodyAnswer | None]]:
        async def garbling(actor: Actor, question: Question) -> CustodyAnswer | None:
            made = await answer(actor, question)
            if made is None or actor not in lie.liars:
                return made
            return made._replace(stages=tuple(garbled(actor.role, stage) for stage in made.stages))

        return garbling

    if lie.attitude is Attitude.GARBAGE:
        replace(desk, "answer", make)


def suppress_challenges(book: ChallengeBook, lie: Lie) -> None:
    """Let the log sign that it has a challenge to a liar, which it never does."""
    promised: dict[bytes, Entry] = {}

    def make_open(open_nowait: Callable[[bytes, Roster], bytes]) -> Callable[[bytes, Roster], bytes]:
        def opening(data: bytes, roster: Roster) -> bytes:
            challenge = _CHALLENGE.decode(data)
            if parse_actor(challenge.actor) not in lie.liars:
                return open_nowait(data, roster)
            key = hash_challenge(data)
            promised[key] = Entry(data, ChallengeState(book.next_epoch, book.next_epoch, NO_EPOCH, bytes(32)))
            return key

        return opening

    def make_get(get: Callable[[bytes], Entry | None]) -> Callable[[bytes], Entry | None]:
        return lambda key: promised.get(key) or get(key)

    def make_receipt(receipt: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        def promising(key: bytes) -> bytes:
            promised.pop(key, None)  # that was only for whoever waits for the receipt
            return receipt(key)

        return promising

    if lie.attitude is Attitude.SUPPRESSED:
        replace(book, "open_nowait", make_open)
        replace(book, "get", make_get)
        replace(book, "receipt", make_receipt)


def garbled(role: Role, stage: StageCustody) -> StageCustody:
    """With another signature under what the actor made. What it was given is as it was."""
    sequenced, routed, merged, head = stage.sequenced, stage.routed, stage.merged, stage.head
    if role is Role.INBOX and sequenced is not None and sequenced.message is not None:
        manifest = sequenced.message.manifest
        other = SignedManifest(manifest.body, shifted(manifest.signature))
        return stage._replace(sequenced=sequenced._replace(message=sequenced.message._replace(manifest=other)))
    if role is Role.ROUTER and routed is not None:
        sheet = routed.sheet._replace(signature=shifted(routed.sheet.signature))
        return stage._replace(routed=routed._replace(sheet=sheet))
    if role is Role.RECEIVER and merged is not None:
        signed = merged.sheet._replace(signature=shifted(merged.sheet.signature))
        return stage._replace(merged=merged._replace(sheet=signed))
    if role is Role.OUTBOX and head is not None:
        return stage._replace(head=head._replace(signature=shifted(head.signature)))
    return stage
