"""The same worlds with a liar: a lie of the zoo is told when all is calm, and somebody must notice.

Knows nothing of how lies are made, nor of how they are proven. The lie concerns an honest device; honest devices write,
and talk to each other, until one of them holds what the zoo says that it will hold, or time is over. It is told by one
stage that the seed draws, or by two; afterwards actors may get new keys, and in the end it is asked who lied.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import trio

from noise.demo.zoo.lie import Lie, Told
from noise.demo.zoo.lies import FACTS, make_lie
from noise.demo.zoo.shadows import Shadows
from noise.node import Node
from noise.pipeline.batches import CommittedEpoch
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.verdict import PROVIDER
from noise.protocol.identifiers import Role
from noise.protocol.statements import Parameters
from tests.pipeline.faults import Meter
from tests.simulation.asked import ask, draw_questions, make_desk
from tests.simulation.blaming import complaints_about_blame
from tests.simulation.checks import truth_of
from tests.simulation.clockwork import run_seeded
from tests.simulation.device import PATIENT, recipients_of
from tests.simulation.living import Living
from tests.simulation.operator import Chores
from tests.simulation.provider import Life
from tests.simulation.remembered import remembered
from tests.simulation.result import Result
from tests.simulation.world import World

LEFT_OUT = {
    "fork": "needs two servers",
    "rollback": "needs an operator who copies files",
    "stale": "is a matter of time, which a device in a world does not look at",
    "silent": "is a matter of time, which a device in a world does not look at",
}
"""Lies that are shown over sockets only, and why."""

UNSTARTABLE = ("misroute", "restart-mailbox")
"""After these lies the state does not lead to what was signed of it, or nobody honest takes it over."""

UNDONE_BY_ANOTHER = ("change-recipients",)
"""Who tells one of these about what another liar made of a message may tell the truth, and then nobody was lied to."""

LIES = tuple(name for name in FACTS if name not in LEFT_OUT)
_ROUNDS = 6
_PATIENCE_S = 60
_QUESTIONS = 3
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
    actor: str = ""
    kind: str = ""
    """The one that the proof comes down to, and the class that names it."""


class LyingWorld(World):
    """`caught` is None until somebody knows."""

    def __init__(self, seed: int, lie: Lie, tell: Callable[[str], None] | None = None) -> None:
        self.lie = lie
        self.shadows = Shadows(None)
        super().__init__(seed, on_node=self._install, tell=tell, policies=PATIENT)
        self.caught: Caught | None = None

    def _install(self, node: Node) -> None:
        if len(node.pipeline.outboxes) >= self.lie.facts.outboxes_min:
            self.lie.install(node, self.shadows)

    def _last_life(self) -> Life:
        """Some lies need two bundles in one epoch."""
        life = super()._last_life()
        facts, by = self.lie.facts, self.lie.by
        n_inboxes = 1 if facts.is_in_lane and Role.ROUTER in by else self._rng.randint(1, 3)
        shape = (n_inboxes, self._rng.randint(facts.outboxes_min, 3))
        return life._replace(shape=shape, topology="parallel", parameters=Parameters(100, 500, 1_000, 65_536, 20))

    async def _run_provider(self) -> None:
        """When nobody listens any more, the operator may have new keys made, if such a provider starts again."""
        await super()._run_provider()
        if self._rng.random() < 0.5 and self.lie.facts.name not in UNSTARTABLE:
            afterwards = self._last_life()._replace(seconds=1.0, chores=Chores(self._rng.choice((1, 99))))
            await self.provider.live(afterwards._replace(meter=Meter(), is_killed=False))

    @property
    def _honest(self) -> list[Living]:
        return [one for one in self.living if one.device.name.startswith("device")]

    async def _before_last_call(self) -> None:
        await trio.sleep(_SETTLING_S)
        while self.provider.node is None:  # it is starting still
            await trio.sleep(0.1)
        rng = random.Random(f"lie {self.seed}")
        honest, lie = self._honest, self.lie
        self.weather.on_refusal = lambda error: self.note("world", f"refused: {error}")
        lie.on_told = self._on_told
        ids = [one.device.device_id for one in honest]
        wants = lie.wants
        lie.wants = lambda bundle, index: bundle.sender in ids and wants(bundle, index)  # type: ignore[method-assign]
        lie.arm(rng.choice(honest).device.device_id, rng.choice((0, 0, 1)))
        with trio.move_on_after(_PATIENCE_S):
            n_rounds = 0
            while self.caught is None:
                n_rounds += 1
                for one in rng.sample(honest, len(honest)) if n_rounds <= _ROUNDS or not lie.told else ():
                    to = recipients_of(rng.randbytes(16), ids)
                    one.write([one.device.draft(to, 20), one.device.draft(to, 8)])
                    await trio.sleep(rng.choice((0, 0.2)))
                for one in honest:
                    for peer in ids:
                        if peer != one.device.device_id:
                            one.greet(self.carrier, peer)
                await trio.sleep(rng.choice((0.2, 1.0)))
                node = self.provider.node
                assert node is not None
                self.look(node.pipeline.fanout.view)

    def _on_told(self, told: Told) -> None:
        self.note("provider", f"lies about {told.seq.hex() or 'no message'} to {told.victim.hex()[:8]}")

    def look(self, view: CommittedEpoch | None) -> None:
        """Whether somebody holds what it should, now that the provider has shown `view`."""
        assert view is not None
        facts = self.lie.facts
        for one in self._honest:
            for proof in one.device.proofs:
                verdict = verify_proof(proof, [self.origin])
                if verdict.kind in facts.verdicts:
                    self._catch(verdict.kind, verdict.accused, view.epoch, proof)
            reasons = {reason.code for reason in one.device.witness.judgement.reasons}
            if "refused-delta" in reasons and "suspected" in facts.verdicts:
                self._catch("suspected", "provider", view.epoch, b"")

    def _catch(self, verdict: str, accused: str, epoch: int, proof: bytes) -> None:
        assert self.lie.told, "it was noticed before it happened"
        epochs = epoch - self.lie.told[0].epoch
        self.caught = self.caught or Caught(self.lie.facts.name, self.seed, verdict, accused, epochs, proof)


def draw_lie(seed: int, name: str) -> Lie:
    """Told by one of the stages that can tell it, or now and then by two."""
    rng, stages = random.Random(f"stages {seed}"), FACTS[name].stages
    n_stages = 1 if name in UNDONE_BY_ANOTHER else min(len(stages), rng.choice((1, 1, 1, 2)))
    return make_lie(name, *sorted(rng.sample(stages, n_stages)))


def catch_liar(seed: int, name: str, tell: Callable[[str], None] | None = None) -> tuple[Caught | None, list[str]]:
    """How a lie was caught in the world of a seed, and what else is to be said about it: nothing, if all is well."""
    world = LyingWorld(seed, draw_lie(seed, name), tell)

    async def judge(result: Result) -> list[str]:
        lie = world.lie
        if not lie.told:
            return ["the lie was never told"]
        world.look(result.view)
        caught = world.caught
        if caught is None:
            return [f"nobody noticed: {[one.device.witness.judgement for one in world._honest]}"]
        if not caught.accused.startswith(lie.facts.accused) and lie.facts.accused != PROVIDER:
            return [f"{caught.accused} is accused, and not {lie.facts.accused}"]
        if not caught.proof or not lie.liars or not lie.facts.convicts:
            return []
        world.shadows.serve(result.store)
        rng, desk = random.Random(f"blame {seed}"), await make_desk(result)
        questions = await draw_questions(result, await truth_of(result), rng, _QUESTIONS)
        asked = [await ask(result, desk, question) for question in questions]
        blame, found = await complaints_about_blame(result, desk, caught.proof, lie.liars, asked, rng)
        world.caught = caught._replace(actor=blame.actor, kind=blame.kind)
        return found

    with remembered():
        _, complaints = run_seeded(f"{seed} {name}", partial(LyingWorld.run, world, judge))
    return world.caught, complaints
