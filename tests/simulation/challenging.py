"""What devices ask of actors, for everybody to see, and what the provider promises them about it.

Knows nothing of what is answered. Some ask about what concerns them, some about anything at all, and some twice.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import trio

from noise.protocol.challenges import CHALLENGE, Challenge, SignedChallengeReceipt
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.stage_views import Question
from noise.protocol.identifiers import Actor, Role, make_seq, parse_seq
from noise.protocol.stages import way_of
from noise.protocol.statements import Roster
from tests.simulation.device import SimDevice
from tests.simulation.provider import Provider, roster_of

_PATIENCE_S = 3.0


class Promised(NamedTuple):
    """A challenge, encoded, and the log's receipt for it."""

    challenge: bytes
    receipt: SignedChallengeReceipt


class Challenger:
    """All devices that challenge, one after the other. `promised`: what they were told."""

    def __init__(self, provider: Provider, devices: Sequence[SimDevice], rng: random.Random) -> None:
        self.promised: list[Promised] = []
        self._provider = provider
        self._devices = devices
        self._rng = rng
        self._made: list[bytes] = []
        self._pauses = rng.choice(((1.0, 3.0), (0.05, 0.2, 0.5)))

    async def run(self) -> None:
        while True:
            await trio.sleep(self._rng.choice(self._pauses))
            challenge = await self._draw()
            if challenge is None:
                continue
            self._made.append(challenge)
            receipt = await self._send(challenge)
            if receipt is not None:
                self.promised.append(Promised(challenge, receipt))

    async def _draw(self) -> bytes | None:
        """Something to ask about, and an actor to be asked."""
        rng, node = self._rng, self._provider.node
        seen = [delivery.seq for device in self._devices for delivery in device.deliveries]
        if node is None or not seen:
            return None
        if self._made and rng.random() < 0.2:
            return rng.choice(self._made)
        seq = rng.choice(seen)
        epoch, lane, _ = parse_seq(seq)
        if rng.random() < 0.2:
            seq = make_seq(epoch, lane, rng.randrange(5))
        question = Question(seq, rng.choice(self._devices).device_id)
        roster = await roster_of(node.store, node.rosters, epoch)
        if roster is None:
            return None
        way = way_of(roster, *question)
        actor = rng.choice(way) if way and rng.random() < 0.9 else Actor(rng.choice(list(Role)), 0, rng.randrange(2))
        return CHALLENGE.encode(
            Challenge(self._provider.origin, actor.encode(), _incarnation(roster, actor), epoch, *question)
        )

    async def _send(self, challenge: bytes) -> SignedChallengeReceipt | None:
        """What the provider promises; None: it refuses, or is down before it has the challenge in its log."""
        node = self._provider.node
        if node is None:
            return None
        pipeline, book = node.pipeline, node.pipeline.challenges
        try:
            roster = await roster_of(node.store, node.rosters, CHALLENGE.decode(challenge).epoch)
            if roster is None:
                return None
            key = book.open_nowait(challenge, roster)
        except NoiseError:
            return None
        pipeline.sequencer.notice_work()
        with trio.move_on_after(_PATIENCE_S):
            while book.get(key) is None:
                await book.wait_committed()
        if book.get(key) is None or self._provider.node is not node:
            return None
        return SignedChallengeReceipt(*pipeline.sign_challenge_receipt(book.receipt(key)))


def _incarnation(roster: Roster, actor: Actor) -> int:
    try:
        return roster.entry(actor).incarnation
    except NoiseError:
        return 1
