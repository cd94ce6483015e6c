"""Each lie of the panel, told to a device of the SDK in a page's place: it gets a proof that convicts, within seconds.

Knows nothing of how a lie is told, nor of how it is noticed.
"""

from pathlib import Path

import pytest
import trio

from noise.demo.menu import OFFERS
from noise.demo.zoo.lies import FACTS
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.verdict import PROVIDER
from noise.protocol.identifiers import Role, format_id
from noise_client import Client, Judgement, Verdict
from tests.demo.guests import CUT_SHORT, open_house

pytestmark = pytest.mark.filterwarnings(CUT_SHORT)

EVENING_S = 30
CASES = [(offer.name, role) for offer in OFFERS.values() for role in offer.by]
USUAL = {(offer.name, offer.by[0]) for offer in OFFERS.values() if offer.group in {"drop", "roll back"}}
"""Pages are told all of them: see `tests/browser`."""
TIMES = 5


async def wait_named(client: Client, role: Role) -> Judgement:
    """Until it says which actor of a role it was."""
    async for judgement in client.verdicts():
        if judgement.verdict is Verdict.EXPOSED:
            named = {reason.accused.partition("-")[0] for reason in judgement.reasons}
            if role.name.lower() in named:
                return judgement
    raise AssertionError(client.verdict)


async def spend_evening(data: Path, name: str, role: Role) -> None:
    facts = FACTS[name]
    with trio.fail_after(EVENING_S):
        async with open_house(data) as visit, visit.guest() as guest:
            provider, victim = visit.house.round.provider, guest.client
            body = {"name": name, "by": role.name.lower(), "victim": format_id(victim.device_id)}
            assert (await visit.post("/demo/lie", body)).status_code == 202
            await wait_named(victim, role)
            verdicts = [verify_proof(kept.proof, [provider.origin]) for kept in await victim.proofs()]
            kinds = {*facts.verdicts, facts.kind_by(role)}
            assert {verdict.kind for verdict in verdicts} <= kinds
            assert not any(verdict.is_suspicion for verdict in verdicts)
            lie = (await visit.state())["lie"]
            told = {told["by"] for told in lie["told"]}
            accused = {verdict.accused for verdict in verdicts} - {PROVIDER}
            assert accused == (told if told != {None} else {f"{role.name.lower()}-0-0"})
            assert lie["state"] == ("served" if name == "fork" else "told")
            assert {told["victim"] for told in lie["told"]} <= {format_id(victim.device_id), None}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        pytest.param(
            name, role, id=f"{name}-{role.name.lower()}", marks=() if (name, role) in USUAL else pytest.mark.slow
        )
        for name, role in CASES
    ],
)
async def test_victim_convicts_and_names(tmp_path: Path, name: str, role: Role) -> None:
    await spend_evening(tmp_path, name, role)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(OFFERS))
async def test_it_was_no_accident(tmp_path: Path, name: str) -> None:
    for number in range(TIMES):
        await spend_evening(tmp_path / str(number), name, OFFERS[name].by[0])
