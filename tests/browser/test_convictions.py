"""Each lie of the panel, told to a page's client: it convicts and names the liar within seconds, as the SDK's does.

Knows nothing of how a lie is told, nor of how it is noticed.
"""

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from noise.demo.menu import OFFERS
from noise.demo.zoo.lie import Attitude
from noise.demo.zoo.lies import FACTS, make_lie
from noise.demo.zoo.provider import CHALLENGE_EPOCHS
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.evidence.verdict import PROVIDER
from noise.protocol.identifiers import Role
from tests.browser.demo_house import DemoHouse, open_house
from tests.browser.device_page import DevicePage, blank_page, open_device

CASES = [(offer.name, role) for offer in OFFERS.values() for role in offer.by]
USUAL = {(offer.name, offer.by[0]) for offer in OFFERS.values() if offer.group == "more"}
"""The others are told to the page by `test_page`, with a proof that is downloaded."""
SETTINGS = {"backoffFirstS": 0.05, "backoffMaxS": 0.5}
SHOWN = "events.filter(({ kind }) => kind === 'proof').map(({ proof }) => hex(proof.proof))"
QUIET = 0.001
"""Bots say one line at once, and the next one when everybody has left."""


def open_guest(context: BrowserContext, house: DemoHouse) -> DevicePage:
    """A page whose client all bots have written to."""
    page = open_device(blank_page(context, house.url), settings=SETTINGS)
    page.until_live()
    house.welcome(page.device_id)
    page.until(f"texts().length >= {len(house.bots)}")
    assert page.get("client.judgement.verdict") == "ok"
    return page


def until_named(page: DevicePage, role: str) -> None:
    """Until the page names an actor of this role, and the proof of it is durable."""
    page.until(f"client.judgement.reasons.some(({{ accused }}) => accused.startsWith('{role}-'))")
    page.until(f"client.proofs().some(({{ verdict }}) => verdict.accused.startsWith('{role}-'))")


def proofs_of(page: DevicePage) -> list[bytes]:
    return [bytes.fromhex(proof) for proof in page.get("client.proofs().map(({ proof }) => hex(proof))")]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        pytest.param(
            name, role, id=f"{name}-{role.name.lower()}", marks=() if (name, role) in USUAL else pytest.mark.slow
        )
        for name, role in CASES
    ],
)
def test_a_page_convicts_and_names(tmp_path: Path, context: BrowserContext, name: str, role: Role) -> None:
    facts, by = FACTS[name], role.name.lower()
    with open_house(tmp_path) as house:
        page = open_guest(context, house)
        house.tell(name, by, page.device_id)
        until_named(page, by)
        judgement, proofs = page.get("client.judgement"), proofs_of(page)
        assert judgement["verdict"] == "exposed"
        verdicts = [verify_proof(proof, [house.origin]) for proof in proofs]
        assert {verdict.kind for verdict in verdicts} <= {*facts.verdicts, facts.kind_by(role)}
        assert not any(verdict.is_suspicion for verdict in verdicts)
        told = {told["by"] for told in house.state()["lie"]["told"]}
        accused = {verdict.accused for verdict in verdicts} - {PROVIDER}
        assert accused == (told if told != {None} else {f"{by}-0-0"})
        page.until(f"{SHOWN}.length >= {len(proofs)}")
        assert [bytes.fromhex(proof) for proof in page.get(SHOWN)[: len(proofs)]] == proofs
        page.reopened()
        assert page.get("client.judgement.verdict") == "exposed"
        assert proofs_of(page)[: len(proofs)] == proofs


def test_a_page_all_alone_convicts_by_its_receipt(tmp_path: Path, context: BrowserContext) -> None:
    """Nobody else has the message, or complains: the receipt says what should have come."""
    with open_house(tmp_path, rate=QUIET, heartbeat_ms=500) as house:
        page = open_device(blank_page(context, house.url), settings=SETTINGS)
        page.until_live()
        lie = make_lie("drop-all", Role.ROUTER)
        house.begin_to_lie(lie)
        page.send(house.bots[0], "hello?")
        until_named(page, "router")
        of_all, of_one = [verify_proof(proof, [house.origin]) for proof in proofs_of(page)]
        assert (of_all.kind, of_all.accused) == ("Omission", PROVIDER)
        assert [of_one.accused] == [str(liar) for liar in lie.liars]
        again = page.get("client.complain(client.proofs()[0].proof).then(({ kind, actor }) => [kind, actor])")
        assert again == [of_one.kind, of_one.accused]


def test_tabs_convict_of_what_one_of_them_refused(tmp_path: Path, context: BrowserContext) -> None:
    """The victim's client has ended, so that only the other tab can say what it was given there."""
    with open_house(tmp_path, rate=QUIET, heartbeat_ms=500) as house:
        one, two = (open_device(blank_page(context, house.url), settings=SETTINGS) for _ in range(2))
        for page in (one, two):
            page.until_live()
        one.send(two.device_id, "hello")
        for page in (one, two):
            page.until("texts().length === 1 && client.pairs().every(({ isLinked }) => isLinked)")
        lie = make_lie("change-payload", Role.ROUTER)
        house.begin_to_lie(lie)
        one.send(two.device_id, "hello?")
        two.until("client.state === 'closed'")
        assert two.get("client.failure.constructor.name") == "ProviderMisbehaved"
        for page in (one, two):
            until_named(page, "router")
            verdicts = [verify_proof(proof, [house.origin]) for proof in proofs_of(page)]
            assert {verdict.accused for verdict in verdicts} - {PROVIDER} == set(map(str, lie.liars))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attitude", "verdict", "kind", "role"),
    [
        (Attitude.SILENT, "suspected", "UnansweredChallenge", "router"),
        (Attitude.LATE, "exposed", "StageOmission", "router"),
        (Attitude.SUPPRESSED, "exposed", "SuppressedChallenge", "log"),
    ],
)
def test_who_does_not_answer_is_challenged_in_the_log(
    tmp_path: Path, context: BrowserContext, attitude: Attitude, verdict: str, kind: str, role: str
) -> None:
    """Two neighbours lie together, so that nobody else has what the first of them made."""
    with open_house(tmp_path, idle_ms=50, heartbeat_ms=200, challenge_epochs=CHALLENGE_EPOCHS) as house:
        page = open_guest(context, house)
        lie = make_lie("change-sender", Role.ROUTER, Role.RECEIVER, attitude=attitude)
        house.tell_beyond_the_menu(lie, page.device_id)
        until_named(page, role)
        proofs = [verify_proof(proof, [house.origin]) for proof in proofs_of(page)]
        [found] = [proof for proof in proofs if proof.kind == kind]
        assert found.is_suspicion == (verdict == "suspected")
        [accused] = [str(liar) for liar in lie.liars if liar.role is Role.ROUTER] if role == "router" else ["log-0-0"]
        assert found.accused == accused
        codes = dict(page.get("client.judgement.reasons.map(({ code, accused }) => [code, accused])"))
        assert codes["unresponsive" if found.is_suspicion else kind] == accused
        assert page.get("client.judgement.verdict") == "exposed"  # that there is a liar is proven
