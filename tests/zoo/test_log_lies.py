"""Forks and rollbacks really happen, on real sockets: who is shown which log, and what one client notices.

Knows nothing of evidence.
"""

from pathlib import Path

import trio

from noise.demo.zoo.lies import make_lie
from noise.demo.zoo.provider import lying_provider
from noise.pipeline.sequencer import Pace
from noise.protocol.checkpoint import parse_checkpoint
from tests.zoo.evening import HELLO, ONE, THREE, TWO, evening
from tests.zoo.watching import party_at

LONG = 100  # epochs


async def test_fork_shows_two_logs_and_delivers_everything(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with evening(make_lie("drop-one"), tmp_path / "liar"):  # never armed: an honest past
            pass
        lie = make_lie("fork")
        async with lying_provider(lie, tmp_path / "liar") as provider, party_at(provider) as party:
            alice, bob = await party.join("alice"), await party.join("bob", provider.urls[1])
            alice.next_ctr = 1
            await alice.say(ONE, bob)
            await alice.wait_texts(2)
            await bob.wait_texts(2)
            await bob.say(TWO, alice)
            await alice.wait_texts(3)
            await bob.wait_texts(3)
            assert alice.texts == bob.texts == [HELLO, ONE, TWO]
            assert (alice.refusal, bob.refusal) == (None, None)
            here, there = [node.pipeline.sequencer.log for node in provider.nodes]
            epoch = lie.told[0].epoch
            assert epoch > 0
            assert here.node(0, epoch - 1) == there.node(0, epoch - 1)
            assert here.node(0, epoch) != there.node(0, epoch)
            await alice.close()
            await bob.wait_epoch(alice.follower.trusted.log.size)
            await party.reconnect(alice, provider.urls[1])
            assert alice.refusal == "log-fork", "a client that sees both needs nobody else"


async def test_rollback_takes_back_what_was_delivered(tmp_path: Path) -> None:
    """Whoever saw it knows; whoever did not is shown a log in which it never was."""
    with trio.fail_after(30):
        async with evening(make_lie("drop-one"), tmp_path / "liar"):  # never armed: an honest past
            pass
        lie = make_lie("rollback")
        async with lying_provider(lie, tmp_path / "liar") as provider, party_at(provider) as party:
            alice, bob = await party.join("alice"), await party.join("bob")
            alice.next_ctr = 1
            await alice.say(ONE, bob)
            await bob.wait_texts(2)
            sequencer = provider.nodes[0].pipeline.sequencer
            usual, sequencer._pace = sequencer._pace, Pace(0, 0)
            await bob.wait_epoch(sequencer.log.size + LONG)
            sequencer._pace = usual
            url, size = provider.url, bob.follower.trusted.log.size
            lie.arm(bob.device_id)
            await alice.submit(alice.bundle([TWO], bob))
            await bob.wait_end()
            await provider.wait_started(2)
            assert provider.url == url
            await party.reconnect(bob)
            assert bob.refusal == lie.facts.refusal
            assert bob.refused is not None
            assert parse_checkpoint(bob.refused.shared.note)[0].size > size, "no shorter log gives it away"
            assert 0 < lie.told[0].epoch < size
            again = await party.join("bob")
            assert (again.texts, again.refusal) == ([HELLO], None)
            carol = await party.join("carol")
            await carol.say(THREE, again)
            await again.wait_texts(2)
            assert again.texts == [HELLO, THREE]
