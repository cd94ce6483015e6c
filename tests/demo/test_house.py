"""The house of the demo: bots that greet and answer, rounds that follow each other, and lies when nobody is there.

Knows nothing of how lies are noticed.
"""

from pathlib import Path

import pytest
import trio

from noise.config import LIED_MARK
from noise.demo.bots import NAMES
from noise.demo.house import DEMO_MARK, _directories
from noise.demo.menu import OFFERS
from noise.node import create_node
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import format_id
from noise_client import ClientState, Seal, Verdict, create_device, open_client
from tests.demo.guests import CUT_SHORT, SETTINGS, open_house

pytestmark = pytest.mark.filterwarnings(CUT_SHORT)

EVENING_S = 30


async def test_bots_greet_and_answer(tmp_path: Path) -> None:
    with trio.fail_after(EVENING_S):
        async with open_house(tmp_path) as visit, visit.guest() as guest:
            bots = {bot.device_id: bot.name for bot in visit.house.round.company.bots}
            assert {bots[delivery.sender] for delivery in guest.heard} == {*NAMES[:3]}
            for delivery in guest.heard[:3]:
                assert delivery.data.decode().startswith(f"Hello! I am {bots[delivery.sender]}")
                assert delivery.seal is Seal.OPENED
            await visit.hello(guest.client)  # once is enough
            heard = len(guest.heard)
            bob, carol = [bot.device_id for bot in visit.house.round.company.bots[1:]]
            await guest.client.send([bob, carol], b"for both of you")
            while not (answers := [one for one in guest.heard[heard:] if len(one.recipients) == 3][1:]):
                await guest.wait_heard(len(guest.heard) + 1)
            assert {delivery.sender for delivery in answers} == {bob}
            assert guest.client.verdict.verdict is Verdict.OK


async def test_a_guest_is_greeted_by_its_name(tmp_path: Path) -> None:
    with trio.fail_after(EVENING_S):
        async with open_house(tmp_path) as visit, open_client(visit.url, create_device(), settings=SETTINGS) as client:
            await visit.hello(client, "Zoë")  # before it has left its keys, too
            async for delivery in client.deliveries():
                assert delivery.data.decode().startswith("Hello, Zoë! I am alice")
                break


async def test_guests_are_not_remembered_without_bound(tmp_path: Path) -> None:
    with trio.fail_after(EVENING_S):
        async with open_house(tmp_path) as visit:
            company = visit.house.round.company
            company.is_ready = trio.Event()  # nobody is greeted before all bots are there
            ids = [create_device().device_id for _ in range(300)]
            for device_id in [*ids, company.ids[0]]:
                visit.house.welcome(device_id, "")
            assert company.guests == ids[-256:]


async def test_connected_guests_are_forgotten_last(tmp_path: Path) -> None:
    with trio.fail_after(EVENING_S):
        async with open_house(tmp_path) as visit, visit.guest() as guest:
            company = visit.house.round.company
            company.is_ready = trio.Event()
            ids = [create_device().device_id for _ in range(400)]
            for device_id in ids:
                visit.house.welcome(device_id, "")
            assert company.guests == [guest.client.device_id, *ids[-255:]]


async def test_a_guest_without_keys_silences_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device may be connected, and have left no keys: nothing can be sealed for it."""
    monkeypatch.setattr("noise.demo.bots._SETTINGS", SETTINGS._replace(keys_wait_s=0.1))
    with trio.fail_after(EVENING_S):
        async with open_house(tmp_path, rate=5) as visit:
            company = visit.house.round.company
            monkeypatch.setattr(company, "_is_live", lambda _: True)
            visit.house.welcome(create_device().device_id, "")
            before = dict(company.tally.verified)
            while not all(n >= before[name] + 5 for name, n in company.tally.verified.items()):
                await trio.sleep(0.02)


async def test_connected_guests_hear_what_bots_talk_about(tmp_path: Path) -> None:
    with trio.fail_after(EVENING_S):
        async with open_house(tmp_path, rate=10) as visit, visit.guest() as guest:
            await guest.wait_heard(len(guest.heard) + 5)
            assert any(len(delivery.recipients) == 4 for delivery in guest.heard)


@pytest.mark.parametrize("name", ["drop-one", "rollback", "fork"])
async def test_bots_are_lied_to_when_nobody_else_is_there(tmp_path: Path, name: str) -> None:
    """And the house stands whatever becomes of their clients."""
    with trio.fail_after(EVENING_S):
        async with open_house(tmp_path, rate=5) as visit:
            assert (await visit.post("/demo/lie", {"name": name, "by": None, "victim": None})).status_code == 202
            bots = visit.house.round.company.bots
            while not any(bot.client.verdict.verdict is Verdict.EXPOSED for bot in bots):
                await trio.sleep(0.02)
            await trio.sleep(0.5)
            assert (await visit.state())["lie"]["state"] in {"told", "served"}


@pytest.mark.parametrize("name", list(OFFERS))
async def test_starting_over_in_the_middle_of_a_lie(tmp_path: Path, name: str) -> None:
    with trio.fail_after(EVENING_S):
        async with open_house(tmp_path, rate=5) as visit:
            url, origins = visit.url, set()
            for _ in range(2):
                current = visit.house.round
                origins.add(current.provider.origin)
                assert (await visit.post("/demo/lie", {"name": name, "by": None, "victim": None})).status_code == 202
                assert (await visit.post("/demo/reset")).status_code == 202
                while visit.house.round is current or not visit.house.round.company.is_ready.is_set():
                    await trio.sleep(0.02)
                assert visit.url == url
            async with visit.guest() as guest:
                assert guest.client.origin not in origins
                assert guest.client.state is ClientState.LIVE


def test_a_provider_that_has_lied_is_not_served_again(tmp_path: Path) -> None:
    def first() -> Path:
        return next(_directories(tmp_path / "house"))

    assert first() == tmp_path / "house"
    (first() / "provider").mkdir(parents=True)
    assert first() == tmp_path / "house"
    (first() / "provider" / LIED_MARK).touch()
    assert first() == tmp_path / "house" / "round-2"
    first().mkdir()
    rounds = _directories(tmp_path / "house")
    assert [next(rounds).name for _ in range(3)] == ["round-2", "round-3", "round-4"]
    (tmp_path / "house" / "round-3").mkdir()
    assert first().name == "round-3"


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mark", [None, format_id(bytes(32)), ""])
async def test_no_provider_of_somebody_else_is_ever_opened(tmp_path: Path, mark: str | None) -> None:
    data = tmp_path / "house" / "provider"
    await create_node(data)
    if mark is not None:
        (data / DEMO_MARK).write_text(mark)
    await refuse_house(tmp_path, "not-a-demo")


async def test_no_directory_of_somebody_else_is_filled(tmp_path: Path) -> None:
    """Some lies put a backup beside the provider: another backup may be there, and is nobody's to replace."""
    (tmp_path / "house" / "provider.backup").mkdir(parents=True)
    (tmp_path / "house" / "provider.backup" / "noise.db").touch()
    await refuse_house(tmp_path, "not-a-demo")


async def refuse_house(folder: Path, code: str) -> None:
    before = read_all(folder / "house")
    with pytest.RaisesGroup(pytest.RaisesExc(NoiseError, match=code), flatten_subgroups=True):
        async with open_house(folder):
            pass
    assert read_all(folder / "house") == before


async def test_a_provider_of_the_demo_is_opened_again(tmp_path: Path) -> None:
    origins = set()
    with trio.fail_after(EVENING_S):
        for _ in range(2):
            async with open_house(tmp_path) as visit:
                origins.add(visit.house.round.provider.origin)
                assert visit.house.round.directory == tmp_path / "house"
    assert len(origins) == 1
