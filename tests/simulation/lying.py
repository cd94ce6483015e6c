"""The same worlds with a liar: a lie of the zoo is told when all is calm, and somebody must notice.

Knows nothing of how lies are made, nor of how they are proven. The lie concerns an honest device; honest devices write,
and talk to each other, until one of them holds what the zoo says that it will hold, or time is over.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import trio

from noise.node import Node
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.statements import Parameters
from tests.simulation.clockwork import run_seeded
from tests.simulation.device import PATIENT, recipients_of
from tests.simulation.living import Living
from tests.simulation.provider import Life
from tests.simulation.remembered import remembered
from tests.simulation.result import Result
from tests.simulation.world import World
from tests.zoo.lie import Lie, Told
from tests.zoo.lies import FACTS, make_lie
from tests.zoo.shadows import Shadows

LEFT_OUT = {
    "fork": "needs two servers",
    "rollback": "needs an operator who copies files",
    "stale": "is a matter of time, which a device in a world does not look at",
    "silent": "is a matter of time, which a device in a world does not look at",
}
"""Lies that are shown over sockets only, and why."""

LIES = tuple(name for name in FACTS if name not in LEFT_OUT)
_ROUNDS = 6
_PATIENCE_S = 60
_SETTLING_S = 1.0
"""Until everybody has a connection that stays: a lie that is lost on its way is told to nobody."""


class Caught(NamedTuple):
    """How a lie was noticed. `verdict`: the class of evidence, or "suspected". `epochs`: from the lie until then."""

    lie: str
    seed: int
    verdict: str
    accused: str
    epochs: int
    proof: bytes


class LyingWorld(World):
    """`caught` is None until somebody knows."""

    def __init__(self, seed: int, lie: Lie, tell: Callable[[str], None] | None = None) -> None:
        self._lie = lie
        self._shadows = Shadows(None)
        super().__init__(seed, on_node=self._install, tell=tell, policies=PATIENT)
        self.caught: Caught | None = None

    def _install(self, node: Node) -> None:
        self._lie.install(node, self._shadows)

    def _last_life(self) -> Life:
        """Some lies need two bundles in one epoch."""
        life = super()._last_life()
        shape = (self._rng.randint(1, 2), self._rng.randint(1, 2))
        return life._replace(shape=shape, topology="parallel", parameters=Parameters(100, 500, 1_000))

    @property
    def _honest(self) -> list[Living]:
        return [one for one in self.living if one.device.name.startswith("device")]

    async def _before_last_call(self) -> None:
        await trio.sleep(_SETTLING_S)
        rng = random.Random(f"lie {self.seed}")
        honest, lie = self._honest, self._lie
        self.weather.on_refusal = lambda error: self.note("world", f"refused: {error}")
        lie.on_told = self._on_told
        lie.arm(rng.choice(honest).device.device_id, rng.choice((0, 0, 1)))
        ids = [one.device.device_id for one in honest]
        with trio.move_on_after(_PATIENCE_S):
            n_rounds = 0
            while self.caught is None:
                n_rounds += 1
                for one in rng.sample(honest, len(honest)) if n_rounds <= _ROUNDS else ():
                    to = recipients_of(rng.randbytes(16), ids)
                    one.write([one.device.draft(to, 20), one.device.draft(to, 8)])
                    await trio.sleep(rng.choice((0, 0.2)))
                for one in honest:
                    for peer in ids:
                        if peer != one.device.device_id:
                            one.greet(self.carrier, peer)
                await trio.sleep(rng.choice((0.2, 1.0)))
                self._look()

    def _on_told(self, told: Told) -> None:
        self.note("provider", f"lies about {told.seq.hex() or 'no message'} to {told.victim.hex()[:8]}")

    def _look(self) -> None:
        """Whether somebody holds what it should."""
        facts = self._lie.facts
        for one in self._honest:
            for proof in one.device.proofs:
                verdict = verify_proof(proof, [self.origin])
                if verdict.kind in facts.verdicts:
                    self._catch(verdict.kind, verdict.accused, proof)
            reasons = {reason.code for reason in one.device.witness.judgement.reasons}
            if "refused-delta" in reasons and "suspected" in facts.verdicts:
                self._catch("suspected", "provider", b"")

    def _catch(self, verdict: str, accused: str, proof: bytes) -> None:
        node = self.provider.node
        assert node is not None and node.pipeline.fanout.view is not None
        assert self._lie.told, "it was noticed before it happened"
        epochs = node.pipeline.fanout.view.epoch - self._lie.told[0].epoch
        self.caught = self.caught or Caught(self._lie.facts.name, self.seed, verdict, accused, epochs, proof)


def catch_liar(seed: int, name: str, tell: Callable[[str], None] | None = None) -> tuple[Caught | None, list[str]]:
    """How a lie was caught in the world of a seed, and what else is to be said about it: nothing, if all is well."""
    world = LyingWorld(seed, make_lie(name), tell)

    async def judge(_: Result) -> list[str]:
        if world.caught is not None:
            return []
        if not world._lie.told:
            return ["the lie was never told"]
        return [f"nobody noticed: {[one.device.witness.judgement for one in world._honest]}"]

    with remembered():
        _, complaints = run_seeded(f"{seed} {name}", partial(LyingWorld.run, world, judge))
    return world.caught, complaints
