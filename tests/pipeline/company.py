"""Devices that follow a provider through crashes, losses and new keys, and what must hold of it afterwards.

Knows nothing of HTTP or the SDK. Providers lie in files, as operators have them; what an operator is told to do is read
from the message and done literally.
"""

import shlex
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from noise.cli import main
from noise.keys import actor_key_name
from noise.node import Node, OpenState, check_node, open_node, open_state
from noise.protocol.delta import SignedRoster
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.openings import LogOpening
from noise.protocol.evidence.roster_lies import PosthumousStatement, verify_posthumous_statement
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven, nothing_else
from noise.protocol.frames import Receipt
from noise.protocol.identifiers import parse_actor
from noise.protocol.merkle import Tree, leaf_hash
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_RECORD, Roster, hash_roster
from tests.pipeline.harness import Answers, Mailbox, options, signer

PATIENCE_S = 30
SHAPE = (2, 2)
ACTORS = ("inbox-0-0", "inbox-0-1", "router-0-1", "receiver-0-0", "outbox-0-1", "sequencer-0-0", "log-0-0")
KEEPERS = tuple(name for name in ACTORS if name != "log-0-0")
"""Those that keep what they signed."""


def mostly_slow(cases: Iterable[Any], *quick: int) -> list[Any]:
    """All cases; but for those at these places, they are left to long runs."""
    return [
        case if n in quick else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for n, case in enumerate(cases)
    ]


class Crashed(Exception):
    """The process ends here."""


class Company:
    """Devices that follow one provider through all its lives, and write to each other in each of them."""

    def __init__(self, data: Path, n_devices: int = 5) -> None:
        self.data = data
        self.n_devices = n_devices
        self.mailboxes: list[Mailbox] = []
        self.sent: list[Bundle] = []
        self.receipts: dict[int, Receipt] = {}
        self._ctrs = count(1)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Node]:
        with trio.fail_after(PATIENCE_S):
            async with open_node(options(self.data, "parallel", *SHAPE)) as node:
                if not self.mailboxes:
                    self.mailboxes = [Mailbox(node.origin, signer(n + 1)) for n in range(self.n_devices)]
                yield node

    async def talk(self, crash: Callable[[Node], None] | None = None) -> None:
        """Everybody writes to everybody; then all that was accepted is there, in one order. Or the process dies."""
        async with self.opened() as node:
            if crash is not None:
                crash(node)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(node.pipeline.run)
                    await node.pipeline.fanout.ready.wait()
                    answers, first = Answers(), len(self.sent)
                    try:
                        await self._write(node, answers, first)
                        await answers.wait_shown(node, self.n_devices)
                    finally:
                        self._keep(answers)
                    node.pipeline.stop()
                await self.catch_up(node)
            except* Crashed:
                pass

    async def _write(self, node: Node, answers: Answers, first: int) -> None:
        members = Recipients(RecipientSet(bytes(16), tuple(sorted(one.device_id for one in self.mailboxes))))
        ctr = next(self._ctrs)
        for n, one in enumerate(self.mailboxes):
            self.sent.append(build_bundle(one.signer, node.origin, ctr, [Draft(members, b"%d" % (first + n), (), 0)]))
            await answers.submit(node, first + n, self.sent[-1].encode())

    def _keep(self, answers: Answers) -> None:
        for number, outcomes in answers.outcomes.items():
            for outcome in outcomes:
                assert isinstance(outcome, Receipt), outcome
                self.receipts[number] = outcome

    async def catch_up(self, node: Node) -> None:
        """Everybody verifies everything; all that has a receipt is there once, and every receipt holds."""
        for one in self.mailboxes:
            await one.catch_up(node)
            texts = [int(delivery.common) for delivery in one.deliveries]
            assert set(self.receipts) <= set(texts) and len(set(texts)) == len(texts)
            assert [delivery.leaf for delivery in one.deliveries] == [d.leaf for d in self.mailboxes[0].deliveries]
        follower = self.mailboxes[0].follower
        seqs = {int(delivery.common): delivery.seq for delivery in self.mailboxes[0].deliveries}
        for number, receipt in self.receipts.items():
            assert follower.check_receipt(receipt, self.sent[number]) == [seqs[number]]

    async def check(self) -> None:
        """It goes on, its state is sound, its ended keys are gone, and nothing that it signed convicts anybody."""
        n_sent = len(self.receipts)
        await self.talk()
        assert len(self.receipts) == n_sent + self.n_devices
        await check_node(self.data, lambda done, total: None, renew_mark=False)
        async with open_state(self.data) as state:
            check_keys(state)
            await check_honest(state)


def check_keys(state: OpenState) -> None:
    """There are the private keys of the last roster's incarnations, the root's, and no others."""
    named = {actor_key_name(parse_actor(e.actor), e.incarnation) for e in state.roster.actors} | {"root"}
    assert {path.stem for path in state.layout.data.rglob("*.pem")} == named


async def check_honest(state: OpenState) -> None:
    """No statement comes from an incarnation that had ended, whichever rosters and record are put against it."""
    rosters = Rosters(state.origin, [SignedRoster(*signed) for signed in state.rosters])
    names = [hash_roster(signed.body) for signed in state.rosters]
    rows = [await state.store.epoch_row(epoch) for epoch in range(state.store.next_epoch)]
    log = Tree([leaf_hash(row.record) for row in rows if row is not None])
    first: dict[bytes, LogOpening] = {}
    for epoch, row in enumerate(rows):
        assert row is not None and rows[-1] is not None
        opening = LogOpening(rows[-1].checkpoint, epoch, row.record, tuple(log.inclusion(epoch)))
        first.setdefault(EPOCH_RECORD.decode(row.record).roster_hash, opening)
    for epoch, row in enumerate(rows):
        assert row is not None
        words = [(Signed(one.body, one.signature), None) for one in await state.store.statements(epoch)]
        for older in names:
            for newer in set(names) & set(first):
                for said in (*words, (None, row.checkpoint)):
                    with pytest.raises(NotProven), nothing_else():
                        verify_posthumous_statement(rosters, PosthumousStatement(older, newer, *said, first[newer]))


def incarnations(roster: Roster) -> dict[str, int]:
    return {str(parse_actor(entry.actor)): entry.incarnation for entry in roster.actors}


def lanes(roster: Roster) -> dict[str, int]:
    return {str(parse_actor(one.inbox)): one.lane for one in roster.lanes}


async def roster_of(company: Company) -> Roster:
    async with open_state(company.data) as state:
        return state.roster


async def refused(company: Company, code: str) -> str:
    """It does not start; what it says."""
    with pytest.raises(NoiseError) as caught:
        async with company.opened():
            pass
    assert caught.value.code == code, caught.value
    return caught.value.detail


async def follow_steps(message: str) -> list[str]:
    """Run the command that an error message names, as an operator does; the actors that it names."""
    [line] = [line for line in message.splitlines() if line.startswith("  ")]
    program, *arguments = shlex.split(line)
    assert program == "noise"
    assert await trio.to_thread.run_sync(main, arguments) == 0
    return [name for option, name in pairwise(arguments) if option == "--actor"]


def die(*_: Any, **__: Any) -> None:
    raise Crashed


def before_a_write(which: str, number: int) -> Callable[[Node], None]:
    """The process dies at the n-th such write, of the store or the custody, of its life."""

    def prepare(node: Node) -> None:
        owner = node.custody if which == "keep" else node.store
        write, numbers = getattr(owner, which), count()

        async def dying(*arguments: Any) -> Any:
            return await write(*arguments) if next(numbers) < number else die()

        setattr(owner, which, dying)

    return prepare


CRASHES = {
    "one lane is sealed": before_a_write("append_manifest", 3),
    "all lanes are sealed": before_a_write("keep", 1),
    "all actors have kept it": before_a_write("commit_epoch", 1),
}
