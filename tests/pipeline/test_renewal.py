"""New keys for actors, by choice and after a loss: nobody who follows notices, nothing is lost, nobody lies.

Knows nothing of epochs that a crash interrupted.
"""

import shutil
from pathlib import Path

import pytest

from noise.node import Layout, check_node, create_node, open_custodies, open_node, open_state
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor, Role
from noise.renewal import recover, rotate
from noise.store.base import StatementRow
from noise.store.custody import CustodyRow
from tests.pipeline.company import (
    ACTORS,
    KEEPERS,
    Company,
    follow_steps,
    incarnations,
    lanes,
    mostly_slow,
    refused,
    roster_of,
)
from tests.pipeline.harness import options

# By choice


@pytest.mark.parametrize("names", mostly_slow([[], *([name] for name in ACTORS)], 0, 7), ids=",".join)
async def test_rotated_actors_go_on_with_new_keys(apart: Company, names: list[str]) -> None:
    before = await roster_of(apart)
    old = incarnations(before)
    renewal = await rotate(apart.data, names)
    assert incarnations(renewal.roster) == {name: n + (not names or name in names) for name, n in old.items()}
    assert renewal.deleted == [f"{name}.{n}" for name, n in old.items() if not names or name in names]
    assert renewal.roster.lanes == before.lanes
    await apart.check()


async def test_everything_can_be_rotated_again_and_again(company: Company) -> None:
    old = incarnations(await roster_of(company))
    for n in range(1, 4):
        renewal = await rotate(company.data, [])
        assert incarnations(renewal.roster) == {name: first + n for name, first in old.items()}
        await company.check()


async def test_rotations_without_an_epoch_between_them(company: Company) -> None:
    for _ in range(3):
        await rotate(company.data, ["router-0-0"])
    assert incarnations(await roster_of(company))["router-0-0"] == 4
    await company.check()


async def test_an_unknown_actor_changes_nothing(company: Company) -> None:
    before = await roster_of(company)
    for renew in (rotate, recover):
        with pytest.raises(NoiseError) as caught:
            await renew(company.data, ["log-0-0", "router-0-2"])
        assert caught.value.code == "unknown-actor" and "router-0-1" in caught.value.detail
    assert await roster_of(company) == before


async def test_a_shape_that_does_not_exist_makes_nothing(apart: Company) -> None:
    before = sorted(apart.data.rglob("*"))
    with pytest.raises(NoiseError) as caught:
        async with open_node(options(apart.data, "parallel", 17, 1)):
            pass
    assert caught.value.code == "bad-option"
    assert sorted(apart.data.rglob("*")) == before


# After a loss


@pytest.mark.parametrize("name", mostly_slow(KEEPERS, 0, 2, 3, 4))
async def test_a_lost_actor_comes_back_by_the_steps_that_it_is_told(apart: Company, name: str) -> None:
    """Its disk is gone, key and all. An inbox goes on in a lane that nobody had."""
    before = await roster_of(apart)
    shutil.rmtree(Layout(apart.data).actors / name)
    message = await refused(apart, "actor-state-lost")
    assert await follow_steps(message) == [name]
    after = await roster_of(apart)
    assert incarnations(after) == incarnations(before) | {name: incarnations(before)[name] + 1}
    assert lanes(after) == lanes(before) | ({name: 2} if name.startswith("inbox") else {})
    await apart.check()


@pytest.mark.parametrize("name", mostly_slow(KEEPERS, 2))
async def test_an_actor_whose_disk_is_an_old_copy_comes_back(apart: Company, name: str) -> None:
    place = Layout(apart.data).actors / name
    shutil.copytree(place, place.with_name("older"))
    await apart.talk()
    newer = shutil.copytree(place, place.with_name("newer"))
    shutil.rmtree(place)
    shutil.copytree(place.with_name("older"), place)
    message = await refused(apart, "actor-state-behind")
    assert f"what {name} kept ends with epoch" in message
    shutil.rmtree(place)
    shutil.copytree(newer, place)
    await apart.talk()
    shutil.rmtree(place)
    place.with_name("older").rename(place)
    shutil.rmtree(newer)
    assert await follow_steps(await refused(apart, "actor-state-behind")) == [name]
    await apart.check()


@pytest.mark.parametrize("is_lost", [True, False])
async def test_what_all_actors_keep_can_be_lost_at_once(tmp_path: Path, is_lost: bool) -> None:
    company = Company(tmp_path / "data")
    await create_node(company.data)
    await company.talk()
    older = shutil.copytree(company.data / "state", tmp_path / "older")
    await company.talk()
    for suffix in ("", "-wal", "-shm"):
        (company.data / f"state/custody.db{suffix}").unlink(missing_ok=True)
    if not is_lost:
        shutil.copy(older / "custody.db", company.data / "state")
    before = await roster_of(company)
    message = await refused(company, "actor-state-lost" if is_lost else "actor-state-behind")
    names = await follow_steps(message)
    assert names == [name for name in incarnations(before) if name != "log-0-0"]
    assert lanes(await roster_of(company)) == {"inbox-0-0": 2, "inbox-0-1": 3}
    await company.check()


async def test_a_damaged_file_of_what_was_kept(company: Company) -> None:
    """It is set aside when its owner begins anew."""
    path = next(company.data.rglob("custody.db"))
    path.write_bytes(b"damaged" + path.read_bytes()[7:])
    message = await refused(company, "store-corrupt")
    assert str(path) in message
    names = await follow_steps(message)
    assert names == [path.parent.name] if "actors" in path.parts else len(names) == 9
    assert path.with_name("damaged-custody.db").exists()
    await company.check()


@pytest.mark.parametrize("name", mostly_slow(ACTORS, 1, 6))
async def test_a_lost_key_alone(company: Company, name: str) -> None:
    [path] = company.data.rglob(f"{name}.*.pem")
    path.unlink()
    message = await refused(company, "key-missing")
    assert "restore it" in message
    assert await follow_steps(message) == [name]
    await company.check()


async def test_a_damaged_key(company: Company) -> None:
    [path] = company.data.rglob("outbox-0-0.*.pem")
    path.write_bytes(path.read_bytes()[:-40])
    assert await follow_steps(await refused(company, "key-damaged")) == ["outbox-0-0"]
    await company.check()


async def test_recovering_some_of_the_lost_tells_about_all(apart: Company) -> None:
    for name in ("router-0-0", "outbox-0-1"):
        (Layout(apart.data).actors / name / "custody.db").unlink()
    with pytest.raises(NoiseError) as caught:
        await recover(apart.data, ["router-0-0"])
    assert caught.value.code == "actor-state-lost"
    assert await follow_steps(caught.value.detail) == ["router-0-0", "outbox-0-1"]
    await apart.check()


async def test_the_root_key_is_needed(apart: Company) -> None:
    """And until it is there nothing has changed: the same steps lead on from there."""
    shutil.rmtree(Layout(apart.data).actors / "router-0-0")
    message, root = await refused(apart, "actor-state-lost"), Layout(apart.data).keys / "root.pem"
    assert str(root) in message
    root.rename(apart.data / "elsewhere")
    with pytest.raises(NoiseError) as caught:
        await recover(apart.data, ["router-0-0"])
    assert caught.value.code == "key-missing"
    (apart.data / "elsewhere").rename(root)
    await follow_steps(await refused(apart, "actor-state-lost"))
    await apart.check()


async def test_the_main_state_cannot_be_recovered(company: Company) -> None:
    """Its log was signed further than this copy knows."""
    older = shutil.copytree(company.data / "state", company.data.with_name("older"))
    await company.talk()
    shutil.rmtree(company.data / "state")
    older.rename(company.data / "state")
    message = await refused(company, "state-behind")
    assert "new origin" in message and "noise roster" not in message
    for renew in (rotate, recover):
        with pytest.raises(NoiseError) as caught:
            await renew(company.data, ["router-0-0"])
        assert caught.value.code == "state-behind"


async def test_the_main_state_is_older_than_what_actors_kept(company: Company, tmp_path: Path) -> None:
    """And nothing else knows: the mark is as old, or made anew. Signed again, that epoch would convict them all."""
    layout = Layout(company.data)
    files = [layout.database, layout.keys / "high-water"]
    older = [shutil.copy(file, tmp_path) for file in files]
    await company.talk()
    for file, copy in zip(files, older, strict=True):
        assert not file.with_name(f"{file.name}-wal").exists()
        shutil.copy(copy, file)
    message = await refused(company, "state-behind")
    assert "kept" in message and "new origin" in message and "noise roster" not in message
    for renew in (rotate, recover):
        with pytest.raises(NoiseError) as caught:
            await renew(company.data, ["router-0-0"])
        assert caught.value.code == "state-behind"
    with pytest.raises(NoiseError) as caught:
        await check_node(company.data, lambda done, total: None, renew_mark=True)
    assert caught.value.code == "state-behind"


async def test_a_single_epoch_that_is_not_there(company: Company) -> None:
    """An actor made something of it, so its manifests had been stored."""
    async with open_state(company.data) as state, open_custodies(state) as custody:
        next_epoch, router = state.store.next_epoch, Actor(Role.ROUTER, 0, 1)
        made = StatementRow(next_epoch, router.encode(), state.roster.entry(router).incarnation, b"", bytes(64))
        await custody.keep([CustodyRow(made, b"")], 0)
    message = await refused(company, "state-behind")
    assert f"before epoch {next_epoch}, but router-0-1 has kept what it signed in epoch {next_epoch}" in message
