"""Rosters as they are signed: who keeps a key and a lane, who gets others, and what becomes of the keys that ended."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from noise.keys import KeyMissing, KeyRing, actor_key_name
from noise.protocol.errors import NoiseError, SignatureError
from noise.protocol.identifiers import Actor, Role, origin_of, parse_actor
from noise.protocol.signing import Signed
from noise.protocol.statements import ROSTER, Parameters, Roster, check_successor, open_roster
from noise.rosters import (
    LANES_EVER_MAX,
    ROOT_KEY,
    delete_ended_keys,
    recover_actors,
    rotate_keys,
    sign_roster,
)
from noise.store.base import LANE_BITS

PARAMETERS = Parameters(20, 1000, 15_000, 64, 8)

INBOX, ROUTER, RECEIVER, OUTBOX, SEQUENCER, LOG = (Actor(role, 0, 0) for role in Role)


class Root:
    """A root that signs one roster after the other; each is verified as any stranger does."""

    def __init__(self, directory: Path, shape: tuple[int, int] = (2, 2), *, apart: bool = False) -> None:
        self.directory = directory
        self.keys = KeyRing(directory / "keys", directory / "actors" if apart else None)
        self.origin = origin_of(self.keys.create(ROOT_KEY).public_key)
        self.rosters: list[Signed] = []
        self.reshape(shape)

    def add(self, signed: Signed) -> Roster:
        roster = open_roster(signed, self.origin)
        if self.rosters:
            check_successor(self.rosters[-1], roster)
        self.rosters.append(signed)
        for entry in roster.actors:
            key = self.keys.load(actor_key_name(parse_actor(entry.actor), entry.incarnation))
            assert key.public_key == entry.key
        return roster

    def reshape(self, shape: tuple[int, int]) -> Roster:
        return self.add(sign_roster(self.keys, self.rosters, len(self.rosters), shape, PARAMETERS))

    def rotate(self, *actors: Actor) -> Roster:
        return self.add(rotate_keys(self.keys, self.rosters, len(self.rosters), actors))

    def recover(self, *actors: Actor) -> Roster:
        return self.add(recover_actors(self.keys, self.rosters, len(self.rosters), actors))

    def roster(self, n: int = -1) -> Roster:
        return ROSTER.decode(self.rosters[n].body)


def changed(before: Roster, after: Roster) -> dict[str, tuple[int, int]]:
    """(incarnation before, after) of the actors whose key is another one."""
    old = {entry.actor: entry for entry in before.actors}
    assert old.keys() == {entry.actor for entry in after.actors}
    others = [entry for entry in after.actors if entry.key != old[entry.actor].key]
    return {str(parse_actor(e.actor)): (old[e.actor].incarnation, e.incarnation) for e in others}


def lanes(roster: Roster) -> list[tuple[int, int]]:
    """(lane, number of its inbox)."""
    return [(one.lane, parse_actor(one.inbox).number) for one in roster.lanes]


def test_the_first_roster(tmp_path: Path) -> None:
    root = Root(tmp_path, (3, 2))
    roster = root.roster()
    assert [str(parse_actor(entry.actor)) for entry in roster.actors] == [
        *(f"inbox-0-{n}" for n in range(3)),
        *(f"router-0-{n}" for n in range(3)),
        *(f"receiver-0-{n}" for n in range(2)),
        *(f"outbox-0-{n}" for n in range(2)),
        "sequencer-0-0",
        "log-0-0",
    ]
    assert {entry.incarnation for entry in roster.actors} == {1}
    assert (roster.version, roster.previous, roster.parameters) == (1, bytes(32), PARAMETERS)
    assert lanes(roster) == [(0, 0), (1, 1), (2, 2)]


def test_actors_that_go_on_keep_keys_and_lanes(tmp_path: Path) -> None:
    root = Root(tmp_path, (1, 1))
    before = {entry.actor: entry for entry in root.roster().actors}
    after = root.reshape((3, 1))
    assert {name: entry for entry in after.actors if (name := entry.actor) in before} == before
    assert lanes(after) == [(0, 0), (1, 1), (2, 2)]
    assert {e.incarnation for e in after.actors} == {1}


def test_mailboxes_are_placed_anew_on_outboxes_with_new_keys(tmp_path: Path) -> None:
    """Else one could be given back a mailbox in whose history another had lied meanwhile, and seem to be the liar."""
    root = Root(tmp_path, (1, 2))
    used = {e.key for e in root.roster().actors}
    for shape in [(1, 1), (1, 2)]:
        after = root.reshape(shape)
        keys = {e.key for e in after.actors if e.actor[0] == Role.OUTBOX}
        assert len(keys) == shape[1] and not keys & used
        assert {e.incarnation for e in after.actors if e.actor[0] in (Role.INBOX, Role.ROUTER)} == {1}
        used |= {e.key for e in after.actors}


def test_an_inbox_that_ended_comes_back_as_another_one(tmp_path: Path) -> None:
    """Another incarnation, another key, and a lane that nobody had: nothing of before is continued."""
    root = Root(tmp_path, (2, 1))
    old = root.roster().entry(Actor(Role.INBOX, 0, 1))
    root.reshape((1, 1))
    roster = root.reshape((2, 1))
    new = roster.entry(Actor(Role.INBOX, 0, 1))
    assert new.incarnation == 2 and new.key != old.key
    assert lanes(roster) == [(0, 0), (2, 1)]
    assert roster.entry(Actor(Role.ROUTER, 0, 1)).incarnation == 2


@pytest.mark.parametrize("actor", [INBOX, ROUTER, RECEIVER, OUTBOX, SEQUENCER, LOG, Actor(Role.INBOX, 0, 1)], ids=str)
def test_a_rotated_actor_has_a_new_key_and_all_else_stays(tmp_path: Path, actor: Actor) -> None:
    root = Root(tmp_path)
    for n in range(1, 4):
        root.rotate(actor)
        assert changed(root.roster(-2), root.roster()) == {str(actor): (n, n + 1)}
        assert root.roster().lanes == root.roster(-2).lanes
        assert root.roster()[7:] == root.roster(-2)[7:]


def test_all_can_be_rotated_at_once(tmp_path: Path) -> None:
    root = Root(tmp_path)
    everyone = [parse_actor(entry.actor) for entry in root.roster().actors]
    root.rotate(*everyone)
    assert changed(root.roster(0), root.roster()) == {str(actor): (1, 2) for actor in everyone}
    assert root.roster().lanes == root.roster(0).lanes


@pytest.mark.parametrize("actor", [ROUTER, RECEIVER, OUTBOX, SEQUENCER, LOG], ids=str)
def test_a_recovered_actor_has_a_new_key(tmp_path: Path, actor: Actor) -> None:
    root = Root(tmp_path)
    root.recover(actor)
    assert changed(root.roster(0), root.roster()) == {str(actor): (1, 2)}
    assert root.roster().lanes == root.roster(0).lanes


def test_a_recovered_inbox_has_a_lane_that_nobody_ever_had(tmp_path: Path) -> None:
    root = Root(tmp_path)
    assert lanes(root.recover(INBOX)) == [(1, 1), (2, 0)]
    assert lanes(root.rotate(INBOX)) == [(1, 1), (2, 0)]
    assert lanes(root.reshape((1, 2))) == [(2, 0)]
    assert lanes(root.recover(INBOX)) == [(3, 0)]
    assert lanes(root.reshape((3, 2))) == [(3, 0), (4, 1), (5, 2)]
    assert lanes(root.recover(INBOX, Actor(Role.INBOX, 0, 2))) == [(4, 1), (6, 0), (7, 2)]
    assert root.roster().entry(INBOX).incarnation == 5


def test_lanes_end_some_day(tmp_path: Path) -> None:
    """A bundle id has so many bits for a lane; the next one would be taken for another's."""
    assert LANES_EVER_MAX == 1 << LANE_BITS
    root = Root(tmp_path, (1, 1))
    last = root.roster().lanes[0]._replace(lane=LANES_EVER_MAX - 2)
    body = ROSTER.encode(root.roster()._replace(lanes=(last,)))
    root.rosters = [root.keys.load(ROOT_KEY).sign("roster", root.origin, body)]
    assert lanes(root.recover(INBOX)) == [(LANES_EVER_MAX - 1, 0)]
    with pytest.raises(NoiseError) as caught:
        root.recover(INBOX)
    assert caught.value.code == "lanes-ended"


def test_nobody_is_renewed_whom_the_roster_does_not_name(tmp_path: Path) -> None:
    root = Root(tmp_path)
    for change in (root.rotate, root.recover):
        with pytest.raises(SignatureError) as caught:
            change(ROUTER, Actor(Role.ROUTER, 0, 2))
        assert caught.value.code == "unknown-actor"


def test_the_root_key_is_needed_and_must_be_the_providers(tmp_path: Path) -> None:
    root = Root(tmp_path / "one")
    other = Root(tmp_path / "other")
    path = tmp_path / "one/keys/root.pem"
    path.unlink()
    with pytest.raises(KeyMissing):
        root.rotate(LOG)
    path.write_bytes((tmp_path / "other/keys/root.pem").read_bytes())
    with pytest.raises(NoiseError) as caught:
        root.rotate(LOG)
    assert caught.value.code == "key-foreign"
    assert other.roster().version == 1


def test_a_key_that_a_crash_left_is_taken_up(tmp_path: Path) -> None:
    """Made, and then no roster became durable: the same one again, for it has signed nothing."""
    root = Root(tmp_path)
    first = rotate_keys(root.keys, root.rosters, 1, [ROUTER])
    again = rotate_keys(root.keys, root.rosters, 1, [ROUTER])
    assert first == again


# Keys in files


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def actor_files(incarnations: Sequence[tuple[Actor, int]], *, apart: bool) -> set[str]:
    return {f"{f'actors/{actor}' if apart else 'keys'}/{actor}.{n}.pem" for actor, n in incarnations}


@pytest.mark.parametrize("apart", [False, True])
def test_where_keys_are_and_that_ended_ones_are_deleted(tmp_path: Path, apart: bool) -> None:
    root = Root(tmp_path, (1, 1), apart=apart)
    everyone = [INBOX, ROUTER, RECEIVER, OUTBOX, SEQUENCER, LOG]
    first = [(actor, 1) for actor in everyone]
    assert files(tmp_path) == {"keys/root.pem"} | actor_files(first, apart=apart)
    assert delete_ended_keys(root.keys, root.rosters) == []
    root.rotate(ROUTER, LOG)
    root.recover(ROUTER)
    assert delete_ended_keys(root.keys, root.rosters) == ["router-0-0.1", "router-0-0.2", "log-0-0.1"]
    assert delete_ended_keys(root.keys, root.rosters) == []
    last = [(actor, {ROUTER: 3, LOG: 2}.get(actor, 1)) for actor in everyone]
    assert files(tmp_path) == {"keys/root.pem"} | actor_files(last, apart=apart)


def test_keys_of_an_actor_that_is_named_no_more_are_deleted(tmp_path: Path) -> None:
    root = Root(tmp_path, (2, 1))
    root.reshape((1, 1))
    assert delete_ended_keys(root.keys, root.rosters) == ["inbox-0-1.1", "router-0-1.1"]
    assert not root.keys.exists("inbox-0-1.1")
    root.reshape((2, 1))
    assert delete_ended_keys(root.keys, root.rosters) == []
    assert root.keys.exists("inbox-0-1.2")


def test_only_the_owner_reads_keys_of_actors(tmp_path: Path) -> None:
    Root(tmp_path, (1, 1), apart=True)
    for path in (tmp_path / "actors").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert {stat.S_IMODE(key.stat().st_mode) for key in path.iterdir()} == {0o600}


def test_a_key_that_cannot_be_deleted_is_an_error(tmp_path: Path) -> None:
    root = Root(tmp_path, (1, 1))
    root.rotate(ROUTER)
    path = tmp_path / "keys/router-0-0.1.pem"
    path.unlink()
    os.mkdir(path)
    with pytest.raises(NoiseError) as caught:
        delete_ended_keys(root.keys, root.rosters)
    assert caught.value.code == "key-kept"
