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

from noise.demo.zoo.forgery import FORGED, Forger
from noise.demo.zoo.lie import Facts, Lie, NoticedBy, replace
from noise.demo.zoo.lies import FACTS, make_lie
from noise.node import Node
from noise.pipeline.batches import CommittedEpoch
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.verdict import NotProven
from noise.protocol.identifiers import Role, format_id
from noise_client import Seal
from noise_client.verdicts import FINE
from tests.e2e.provider_process import ROOT, client_environment
from tests.zoo.__main__ import spend_evenings, spend_stage_evenings
from tests.zoo.checking import check_blame, check_noticed
from tests.zoo.convicting import (
    AFTER,
    ALICE,
    BOB,
    EVENING_S,
    HONEST_MESSAGES,
    NAMES,
    Case,
    is_provable,
    needs_link,
    shape_for,
    spend_evening,
)
from tests.zoo.table import (
    BEGIN,
    END,
    NOTHING,
    Row,
    StageRow,
    format_row,
    format_stage_row,
    make_stage_table,
    make_table,
    rows_in,
    with_table,
)

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


def check_forged(case: Case) -> None:
    """An operator can seal for everybody: who sent it, and where it is not, gives it away."""
    [forged] = [delivery for delivery in case.heard[BOB] if delivery.sender == Forger().device_id]
    assert (forged.data, forged.seal) == (FORGED, Seal.OPENED)
    assert FORGED not in [delivery.data for delivery in case.heard[ALICE]]


@pytest.mark.parametrize("name", FACTS)
async def test_every_lie_is_noticed_and_strangers_convict(name: str, tmp_path: Path) -> None:
    with trio.fail_after(TEST_S):
        facts = FACTS[name]
        shape = None if Role.LOG in facts.stages else shape_for(facts, Role.OUTBOX)
        case = await spend_evening(make_lie(name), tmp_path / "liar", shape=shape)
        check_noticed(case, facts)
        check_blame(case, *facts.stages[:1])
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
        with pytest.raises(NotProven):
            verify_proof(case.proof, [bytes(32)])


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


async def test_tables_of_an_evening() -> None:
    with trio.fail_after(TEST_S):
        rows = await spend_evenings(["restart-mailbox", "drop-one"])
        stage_rows = await spend_stage_evenings(["restart-mailbox", "misroute"])
        tables = make_table(rows) + "\n" + make_stage_table(stage_rows)
        document = with_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", tables)
        assert document.startswith(f"before\n{BEGIN}\n\n| lie |")
        assert document.endswith(f"\n{END}\nafter\n")
        assert with_table(document, tables) == document
        [[restart, drop], [restarted, misrouted]] = rows_in(document)
        assert restart[:4] == ["restart-mailbox", "MailboxRollback", "outbox-0-0", "the victim"]
        assert restart[5] == NOTHING
        assert drop[:4] == ["drop-one", "Omission", "provider", "two clients"]
        assert drop[6] == f"{len(rows[1].linked.proof)} bytes"
        named = ["MailboxRollback", "the outbox", "MailboxRollback, the outbox"]
        assert restarted[:5] == ["restart-mailbox", "outbox", *named]
        named = ["StageOmission", "the router", "StageOmission, the router"]
        assert misrouted[:5] == ["misroute", "router", *named]
        assert misrouted[5].endswith(" bytes")


def test_tables_say_what_was_not_noticed() -> None:
    case = Case(FACTS["drop-one"], bytes(32), 3, (), {}, {}, {}, {}, (), {})
    assert format_row(Row(FACTS["drop-one"], case, None))[1] == "**NOT NOTICED**"
    assert format_stage_row(StageRow(FACTS["drop-one"], Role.ROUTER, case, case))[3] == "**NOT NOTICED**"


def test_document_has_a_row_for_each_lie_and_each_liar() -> None:
    """`python -m tests.zoo run --write docs/threat-model.md` writes it."""
    lies, liars = rows_in((ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8"))
    assert [cells[0] for cells in lies] == list(FACTS)
    for name, verdict, *_ in lies:
        assert verdict.removeprefix("nothing; ") in FACTS[name].verdicts
    can = [(facts, role) for facts in FACTS.values() for role in sorted(set(facts.stages) - {Role.LOG})]
    for (facts, role), cells in zip(can, liars, strict=True):
        stage, kind = role.name.lower(), facts.kind_by(role)
        assert cells[:4] == [facts.name, stage, kind or facts.verdicts[0], f"the {stage}" if kind else "nobody"]


@pytest.mark.parametrize("document", ["nothing", BEGIN, END, f"{END} {BEGIN}", f"{BEGIN} {END} {BEGIN}"])
def test_table_needs_its_place(document: str) -> None:
    with pytest.raises(NoiseError, match="no place for a table"):
        with_table(document, "")
