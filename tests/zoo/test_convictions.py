"""Every lie of the zoo is noticed by real clients, on real sockets, and strangers convict by what they kept.

Knows nothing of how lies are made. What is to be expected of each is in FACTS; the honest provider, on the same
evening, ends with nothing.
"""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from noise.node import Node
from noise.pipeline.batches import CommittedEpoch
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import format_id
from noise_client import Seal, Verdict
from noise_client.verdicts import FINE
from tests.e2e.provider_process import ROOT, client_environment
from tests.zoo.__main__ import spend_evenings
from tests.zoo.convicting import (
    AFTER,
    ALICE,
    BOB,
    EVENING_S,
    HONEST_MESSAGES,
    NAMES,
    STALE,
    Case,
    is_provable,
    knowing,
    needs_link,
    spend_evening,
)
from tests.zoo.forgery import FORGED, Forger
from tests.zoo.lie import Facts, Lie, NoticedBy, replace
from tests.zoo.lies import FACTS, make_lie
from tests.zoo.table import BEGIN, END, NOTHING, Row, format_row, make_table, rows_in, with_table

EPOCHS_MAX = 25
"""In which a lie must be out. The clients talk all the time, three bundles a round."""

PROVABLE = [name for name, facts in FACTS.items() if is_provable(facts)]
SEALED = [name for name in PROVABLE if not needs_link(FACTS[name])]
FORGERIES = {"change-sender", "insert"}
TEST_S = EVENING_S + 20


async def verify(proof: bytes, origin: bytes, directory: Path, *flags: str) -> tuple[int, dict[str, str]]:
    """What `noise verify` says in a process of its own, which knows the file and the origin."""
    path = directory / "a.proof"
    path.write_bytes(proof)
    command = [sys.executable, *flags, "-m", "noise", "verify", str(path), "--origin", format_id(origin), "--json"]
    done = await trio.run_process(
        command, capture_stdout=True, stdin=subprocess.DEVNULL, check=False, cwd=directory, env=client_environment()
    )
    return done.returncode, json.loads(done.stdout)


def check_noticed(case: Case, facts: Facts) -> None:
    """The right ones know the right thing, in time, and nothing else was found: but two logs contradict each other in
    everything."""
    known_to = knowing(facts)
    epochs = case.epochs_until(*known_to)
    assert epochs is not None, case.judgements
    assert facts.verdicts[0] == STALE or 0 <= epochs <= EPOCHS_MAX
    for name in known_to:
        assert case.judgements[name].verdict is (Verdict.EXPOSED if is_provable(facts) else Verdict(facts.verdicts[0]))
    for proofs in case.proofs.values() if facts.name != "fork" else ():
        assert {case.judge(proof).kind for proof in proofs} <= set(facts.verdicts)
        assert {case.judge(proof).accused.split("-")[0] for proof in proofs} <= {facts.accused}
    if not is_provable(facts):
        assert not any(case.proofs.values())
        assert case.judgements[ALICE].verdict is Verdict.OK


def check_forged(case: Case) -> None:
    """An operator can seal for everybody: who sent it, and where it is not, gives it away."""
    [forged] = [delivery for delivery in case.heard[BOB] if delivery.sender == Forger().device_id]
    assert (forged.data, forged.seal) == (FORGED, Seal.OPENED)
    assert FORGED not in [delivery.data for delivery in case.heard[ALICE]]


@pytest.mark.parametrize("name", FACTS)
async def test_every_lie_is_noticed_and_strangers_convict(name: str, tmp_path: Path) -> None:
    with trio.fail_after(TEST_S):
        facts = FACTS[name]
        case = await spend_evening(make_lie(name), tmp_path / "liar")
        check_noticed(case, facts)
        if name in FORGERIES:
            check_forged(case)
        if not is_provable(facts):
            return
        verdict = case.judge(case.proof)
        flags = ["-O"] if list(FACTS).index(name) % 2 else []
        status, said = await verify(case.proof, case.origin, tmp_path, *flags)
        assert (status, said["result"]) == (0, "convicted")
        assert (said["kind"], said["accused"], said["epoch"]) == (verdict.kind, verdict.accused, str(verdict.epoch))
        assert said["origin"] == format_id(case.origin)
        status, said = await verify(case.proof, bytes(32), tmp_path, *flags)
        assert (status, said["result"]) == (1, "not-proven")


@pytest.mark.parametrize("name", SEALED)
async def test_no_link_is_needed_where_all_stay_connected(name: str, tmp_path: Path) -> None:
    """What convicts goes through the liar itself, sealed. And whoever was lied to goes on receiving."""
    with trio.fail_after(TEST_S):
        case = await spend_evening(make_lie(name), tmp_path / "liar", is_linked=False)
        check_noticed(case, FACTS[name])
        for guest in NAMES:
            assert AFTER in [delivery.data for delivery in case.heard[guest]]


class Restarting(Lie):
    """No lie: an operator who restarts the provider, once."""

    def __init__(self) -> None:
        super().__init__(Facts("restart", "the provider is restarted", (), "nobody", NoticedBy.VICTIM))
        self.n_restarts = 0

    def change(self, node: Node) -> None:
        replace(node.pipeline.fanout, "_publish", self._restarting)

    def _restarting(
        self, publish: Callable[[CommittedEpoch], Awaitable[None]]
    ) -> Callable[[CommittedEpoch], Awaitable[None]]:
        async def restarting(epoch: CommittedEpoch) -> None:
            await publish(epoch)
            if self.target is not None and not self.n_restarts:
                self.n_restarts += 1
                self.restart_wanted.set()

        return restarting


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_the_honest_provider_ends_the_evening_with_nothing(is_restarted: bool, tmp_path: Path) -> None:
    with trio.fail_after(TEST_S):
        operator = Restarting() if is_restarted else None
        case = await spend_evening(operator, tmp_path / "honest")
        assert operator is None or operator.n_restarts
        for name in NAMES:
            assert case.judgements[name] == FINE
            assert not case.reasons[name]
            assert not case.proofs[name]
        said = [[(delivery.seq, delivery.data) for delivery in case.heard[name]] for name in NAMES]
        shortest = min(map(len, said))
        assert shortest >= HONEST_MESSAGES
        assert said[0][:shortest] == said[1][:shortest] == said[2][:shortest]


async def test_table_of_an_evening() -> None:
    with trio.fail_after(TEST_S):
        rows = await spend_evenings(["restart-mailbox", "drop-one"])
        document = with_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", make_table(rows))
        assert document.startswith(f"before\n{BEGIN}\n\n| lie |")
        assert document.endswith(f"\n{END}\nafter\n")
        assert with_table(document, make_table(rows)) == document
        shown = rows_in(document)
        assert list(shown) == ["restart-mailbox", "drop-one"]
        assert shown["restart-mailbox"][1:4] == ["MailboxRollback", "outbox-0-0", "the victim"]
        assert shown["restart-mailbox"][5] == NOTHING
        assert shown["drop-one"][1:4] == ["Omission", "provider", "two clients"]
        assert shown["drop-one"][6] == f"{len(rows[1].linked.proof)} bytes"


def test_table_says_what_was_not_noticed() -> None:
    case = Case(FACTS["drop-one"], bytes(32), 3, (), {}, {}, {}, {})
    assert format_row(Row(FACTS["drop-one"], case, None))[1] == "**NOT NOTICED**"


def test_document_has_a_row_for_each_lie() -> None:
    """`python -m tests.zoo run --write docs/threat-model.md` writes it."""
    shown = rows_in((ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8"))
    assert list(shown) == list(FACTS)
    for name, cells in shown.items():
        assert cells[1].removeprefix("nothing; ") in FACTS[name].verdicts


@pytest.mark.parametrize("document", ["nothing", BEGIN, END, f"{END} {BEGIN}", f"{BEGIN} {END} {BEGIN}"])
def test_table_needs_its_place(document: str) -> None:
    with pytest.raises(NoiseError, match="no place for a table"):
        with_table(document, "")
