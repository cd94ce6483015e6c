"""Evenings with real clients at a provider that lies: what they make of it, how soon, and what they can show.

Knows nothing of what a lie does, nor of how it is noticed. Three devices talk in a group, over real sockets: Alice,
Bob, who is lied to, and Carol. Everything is honest until each has heard the others once.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from noise.demo.zoo.custody_lies import LATE_EPOCHS
from noise.demo.zoo.lie import Attitude, Facts, Lie, Told
from noise.demo.zoo.provider import LyingProvider, impatient, lying_provider
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.blame import Blame, assign_blame
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.stage_views import CustodyAnswer
from noise.protocol.evidence.verdict import Verdict as ProofVerdict
from noise.protocol.identifiers import Role
from noise_client import Client, Delivery, Judgement, Settings, Verdict, create_device, open_client
from tests.zoo.blaming import gather_custody

ALICE, BOB, CAROL = "alice", "bob", "carol"
NAMES = (ALICE, BOB, CAROL)
HELLO, TALK, AFTER = b"hello", b"talk", b"after"
STALE, SUSPECTED = "stale", "suspected"

SHAPE = (3, 3)
"""Inboxes and outboxes, where there must be more than one actor to blame."""

HONEST_MESSAGES = 24
EVENING_S = 20.0
"""Then it ends, whatever was noticed."""

_STALE_S = 1.2
_ROUND_S = 0.1
_SAY_S = 1.0


class Noticed(NamedTuple):
    """`who` reached `verdict` (a class of evidence, "stale" or "suspected") when the provider was at `epoch`."""

    who: str
    verdict: str
    epoch: int


class Case(NamedTuple):
    """How an evening ended. `told_epoch`: the last one before which all was true; -1: nobody lied.

    `noticed`: the first that each guest noticed of what the zoo says that it will notice, in the order of time.
    By name: the `judgements`, `proofs` and deliveries in the end, and the codes of all `reasons` that there ever were.
    `told`: all lies. `custody`: what the actors answered to each proof, the last time and each time before.
    """

    facts: Facts | None
    origin: bytes
    told_epoch: int
    noticed: tuple[Noticed, ...]
    judgements: dict[str, Judgement]
    proofs: dict[str, tuple[bytes, ...]]
    heard: dict[str, tuple[Delivery, ...]]
    reasons: dict[str, frozenset[str]]
    told: tuple[Told, ...]
    custody: dict[bytes, list[list[CustodyAnswer]]]

    def epochs_until(self, *names: str) -> int | None:
        """From the lie until all of these had noticed. None: not all did."""
        epochs = {noticed.who: noticed.epoch for noticed in self.noticed}
        return max(epochs[name] for name in names) - self.told_epoch if epochs.keys() >= set(names) else None

    @property
    def proof(self) -> bytes:
        """What convicts, of whoever noticed first; empty: nothing is proven."""
        for noticed in self.noticed:
            for proof in self.proofs[noticed.who]:
                if self.judge(proof).kind == noticed.verdict:
                    return proof
        return b""

    def judge(self, proof: bytes) -> ProofVerdict:
        """Raises NoiseError for what convicts nobody."""
        return verify_proof(proof, [self.origin])

    def blame(self, proof: bytes, asked: int = -1) -> Blame:
        """Which actor a proof comes down to, with what all actors answered at last, or when `asked` before that."""
        return assign_blame(proof, self.custody[proof][asked], self.origin)


class _Guest:
    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self.client = client
        self.heard: list[Delivery] = []
        self.reasons: set[str] = set()

    async def say(self, text: bytes, guests: Sequence["_Guest"]) -> None:
        """To everybody. A client that has failed says nothing more, and one that gets no receipt does not wait."""
        with trio.move_on_after(_SAY_S):
            try:
                await self.client.send([guest.client.device_id for guest in guests], text)
            except NoiseError:
                return


class _Evening:
    def __init__(self, provider: LyingProvider, lie: Lie | None, guests: Sequence[_Guest]) -> None:
        self._provider = provider
        self._lie = lie
        self._guests = guests
        self._told_epoch = -1
        self._noticed: list[Noticed] = []
        self._changed = trio.Event()
        if lie is not None:
            lie.on_told = self._note_told
            for told in lie.told:
                self._note_told(told)

    def _note_told(self, told: Told) -> None:
        if self._told_epoch < 0:
            self._told_epoch = max(told.epoch, self._provider.epoch)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def listen(self, guest: _Guest) -> None:
        try:
            async for delivery in guest.client.deliveries():
                guest.heard.append(delivery)
                self._tell()
        except NoiseError:
            return

    async def watch(self, guest: _Guest) -> None:
        async for judgement in guest.client.verdicts():
            guest.reasons |= {reason.code for reason in judgement.reasons}
            verdict = self._expected(judgement)
            if verdict and guest.name not in {noticed.who for noticed in self._noticed}:
                self._noticed.append(Noticed(guest.name, verdict, self._provider.epoch))
                self._tell()

    def _expected(self, judgement: Judgement) -> str:
        """What of a judgement the zoo says that it will be."""
        expected = self._lie.facts.verdicts if self._lie else ()
        if judgement.verdict is Verdict.EXPOSED:
            return next((reason.code for reason in judgement.reasons if reason.code in expected), "")
        return judgement.verdict.value if judgement.verdict.value in expected else ""

    async def greet(self) -> None:
        """Everybody says HELLO, and hears it of everybody."""
        for guest in self._guests:
            await guest.client.send([other.client.device_id for other in self._guests], HELLO)
        while not self.have_all_heard(HELLO, len(self._guests)):
            await self._changed.wait()

    async def talk_until(self, is_enough: Callable[[], bool], text: bytes) -> None:
        """All say something at once, again and again."""
        while not is_enough():
            async with trio.open_nursery() as nursery:
                for guest in self._guests:
                    nursery.start_soon(guest.say, text, self._guests)
            with trio.move_on_after(_ROUND_S):
                while not is_enough():
                    await self._changed.wait()

    async def talk_about(self, lie: Lie | None) -> None:
        if lie is None or not lie.facts.verdicts:
            await self.talk_until(lambda: self.have_all_heard(TALK, HONEST_MESSAGES), TALK)
            return
        await self.talk_until(lambda: self.has_noticed(knowing(lie.facts)), TALK)
        if is_provable(lie.facts) and not needs_link(lie.facts):
            await self.talk_until(lambda: self.have_all_heard(AFTER), AFTER)

    def has_noticed(self, names: Sequence[str]) -> bool:
        return set(names) <= {noticed.who for noticed in self._noticed}

    def do_both_blame(self) -> bool:
        """Whether Alice and Bob say whom they convict of what: more than they noticed."""
        expected = {self._lie.facts.kind_by(role) for role in self._lie.by} if self._lie else set()
        return all(guest.reasons & expected for guest in self._guests if guest.name in {ALICE, BOB})

    def have_all_heard(self, text: bytes, count: int = 1) -> bool:
        return all(sum(delivery.data == text for delivery in guest.heard) >= count for guest in self._guests)

    async def case(self) -> Case:
        proofs = {guest.name: tuple(kept.proof for kept in await guest.client.proofs()) for guest in self._guests}
        custody = await self._ask_for_custody({proof for kept in proofs.values() for proof in kept})
        return Case(
            self._lie.facts if self._lie else None,
            self._provider.origin,
            self._told_epoch,
            tuple(self._noticed),
            {guest.name: guest.client.verdict for guest in self._guests},
            proofs,
            {guest.name: tuple(guest.heard) for guest in self._guests},
            {guest.name: frozenset(guest.reasons) for guest in self._guests},
            tuple(self._lie.told if self._lie else ()),
            custody,
        )

    async def _ask_for_custody(self, proofs: set[bytes]) -> dict[bytes, list[list[CustodyAnswer]]]:
        """Once; and again when a late liar has had its time."""
        custody = {proof: [await self._gather_custody(proof)] for proof in proofs}
        if self._lie is not None and self._lie.attitude is Attitude.LATE:
            wanted = self._provider.epoch + LATE_EPOCHS + 1
            await self.talk_until(lambda: self._provider.epoch >= wanted, AFTER)
            for proof, answers in custody.items():
                answers.append(await self._gather_custody(proof))
        return custody

    async def _gather_custody(self, proof: bytes) -> list[CustodyAnswer]:
        provider = self._provider
        return await gather_custody(provider.url, provider.origin, provider.nodes[0].rosters, proof)


def is_provable(facts: Facts) -> bool:
    """Whether what is noticed of a lie convicts."""
    return facts.verdicts[0] not in {STALE, SUSPECTED}


def needs_link(facts: Facts) -> bool:
    """Whether others hear of a lie only past the provider: a client that refuses what it is shown is at its end."""
    return facts.refusal is not None


def shape_for(facts: Facts, role: Role) -> tuple[int, int]:
    """Where both of two messages must pass one router, there is one."""
    return (1, SHAPE[1]) if facts.is_in_lane and role is Role.ROUTER else SHAPE


def knowing(facts: Facts) -> tuple[str, ...]:
    """Who will know: two of them hold the proof, or the victim alone has its reasons."""
    return (ALICE, BOB) if is_provable(facts) else (BOB,)


async def spend_evening(
    lie: Lie | None,
    data: Path,
    *,
    is_linked: bool = True,
    shape: tuple[int, int] | None = None,
    complains: bool = False,
) -> Case:
    """At a new provider in `data`, until they know who should, or EVENING_S is over. Who still can, talks on.

    No lie, or one without verdicts: an honest provider. Then it ends when a lot was said and heard.
    `is_linked`: Alice and Bob keep a gossip link that the provider does not carry. Without it what they compare travels
    sealed in their messages. `shape`: (inboxes, outboxes), as few as will do unless told otherwise. `complains`: the
    clients ask by themselves which actor it was, and the evening goes on until Alice and Bob know.
    """
    inboxes, outboxes = shape or (1, lie.facts.outboxes_min if lie else 1)
    options = impatient(data)._replace(inboxes=inboxes, outboxes=outboxes)
    async with lying_provider(lie, data, options) as provider, _guests_of(provider, lie, complains) as guests:
        evening = _Evening(provider, lie, guests)
        async with trio.open_nursery() as nursery:
            for guest in guests:
                nursery.start_soon(evening.listen, guest)
                nursery.start_soon(evening.watch, guest)
            with trio.move_on_after(EVENING_S):
                await evening.greet()
                if is_linked:
                    port = await guests[0].client.serve_gossip("127.0.0.1")
                    await guests[1].client.gossip_with(f"ws://127.0.0.1:{port}")
                if lie is not None:
                    lie.arm(guests[1].client.device_id)
                await evening.talk_about(lie)
                if lie is not None and complains:
                    await evening.talk_until(evening.do_both_blame, AFTER)
            case = await evening.case()
            nursery.cancel_scope.cancel()
    return case


@asynccontextmanager
async def _guests_of(provider: LyingProvider, lie: Lie | None, complains: bool) -> AsyncIterator[list[_Guest]]:
    """Bob is in another group than the others, if there are two."""
    stale_s = _STALE_S if lie and STALE in lie.facts.verdicts else 3 * EVENING_S
    settings = Settings(
        backoff_first_s=0.02, backoff_max_s=0.2, ack_quiet_s=0.01, stale_after_s=stale_s, complains=complains
    )
    async with AsyncExitStack() as stack:
        guests = []
        for name in NAMES:
            url = provider.urls[-1] if name == BOB else provider.url
            client = await stack.enter_async_context(open_client(url, create_device(), settings=settings))
            guests.append(_Guest(name, client))
        yield guests
