"""Three devices at a lying provider, and how an evening there begins: honestly.

Knows nothing of which lie is told, or when.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from noise.demo.zoo.lie import Lie
from noise.demo.zoo.provider import IDLE_MS, LyingProvider, impatient, lying_provider
from noise.protocol.identifiers import parse_seq
from tests.zoo.watching import Party, Watcher, party_at

HELLO, ONE, TWO, THREE, FOUR = b"hello", b"one", b"two", b"three", b"four"


@dataclass
class Evening:
    """Three devices, what was said, and where the receipts say that it stands."""

    provider: LyingProvider
    party: Party
    alice: Watcher
    bob: Watcher
    carol: Watcher
    seqs: dict[bytes, bytes]

    async def say(self, who: Watcher, text: bytes) -> None:
        self.seqs[text] = await who.say(text, self.alice, self.bob, self.carol)

    async def settle(self) -> None:
        """Until everybody who is told the truth, or anything new, has verified the last epoch."""
        epoch = max(parse_seq(seq)[0] for seq in self.seqs.values())
        await self.alice.wait_epoch(epoch)
        await self.carol.wait_epoch(epoch)


@asynccontextmanager
async def evening(lie: Lie, data: Path, idle_ms: int = IDLE_MS) -> AsyncIterator[Evening]:
    """An honest start: everybody has a mailbox, and has verified HELLO."""
    options = impatient(data)._replace(idle_ms=idle_ms, outboxes=lie.facts.outboxes_min)
    async with lying_provider(lie, data, options) as provider, party_at(provider) as party:
        alice, bob, carol = [await party.join(name) for name in ("alice", "bob", "carol")]
        made = Evening(provider, party, alice, bob, carol, {})
        await made.say(made.alice, HELLO)
        await made.settle()
        await made.bob.wait_epoch(parse_seq(made.seqs[HELLO])[0])
        yield made
