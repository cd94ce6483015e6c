"""Rendezvous hashing: the same for everybody, even, and a new outbox takes its share from all the others alone."""

from collections import Counter
from hashlib import sha256

import pytest

from noise.protocol.identifiers import Actor, Role
from noise.protocol.placement import Rendezvous, actors_of, place_mailbox
from noise.protocol.statements import RosterEntry
from tests.vectors.cast import device_of, make_roster
from tests.vectors.make_identifiers import outboxes

IDS = [sha256(b"mailbox %d" % i).digest() for i in range(4000)]


def place(count: int) -> list[int]:
    number = Rendezvous(outboxes(count)).number
    return [number(mailbox) for mailbox in IDS]


def test_placement_by_hand() -> None:
    candidates = [Actor(Role.OUTBOX, 0, number) for number in range(5)]
    for mailbox in IDS[:200]:
        weights = {sha256(bytes([4, 0, 0, 0, a.number]) + mailbox).digest(): a for a in candidates}
        assert Rendezvous(candidates).actor(mailbox) == weights[max(weights)]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_a_new_outbox_moves_its_own_share_only(count: int) -> None:
    before, after = place(count), place(count + 1)
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {new for _, new in moved} == {count}
    assert abs(len(moved) / len(IDS) - 1 / (count + 1)) < 0.03


@pytest.mark.parametrize("count", [2, 5, 16])
def test_shares_are_even(count: int) -> None:
    shares = Counter(place(count))
    assert set(shares) == set(range(count))
    assert max(shares.values()) < 1.3 * len(IDS) / count
    assert min(shares.values()) > 0.7 * len(IDS) / count


def test_the_order_of_candidates_does_not_matter() -> None:
    forward, backward = Rendezvous(outboxes(6)), Rendezvous(outboxes(6)[::-1])
    assert [forward.number(i) for i in IDS[:500]] == [backward.number(i) for i in IDS[:500]]


def test_answers_are_the_same_when_they_are_remembered() -> None:
    rendezvous = Rendezvous(outboxes(3))
    first = [rendezvous.number(i) for i in IDS[:100]]
    assert [rendezvous.number(i) for i in IDS[:100]] == first == place(3)[:100]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids come from strangers: to remember them all would be theirs to fill."""
    monkeypatch.setattr(Rendezvous, "_MEMORY_MAX", 10)
    rendezvous = Rendezvous(outboxes(3))
    assert [rendezvous.number(i) for i in IDS[:100]] == place(3)[:100]
    assert len(rendezvous._memory) <= 10


def test_equal_numbers_in_two_shards_are_two_actors() -> None:
    """A number is unique within its shard: whoever looks for the actor must not find the other shard's."""
    actors = [Actor(Role.OUTBOX, shard, 0) for shard in range(3)]
    roster = make_roster()
    others = tuple(entry for entry in roster.actors if entry.actor[0] != Role.OUTBOX)
    entries = sorted([*others, *(RosterEntry(actor.encode(), 0, 1, bytes(32)) for actor in actors)])
    roster = roster._replace(actors=tuple(entries))
    assert actors_of(roster, Role.OUTBOX) == actors
    placed = Counter(place_mailbox(roster, mailbox) for mailbox in IDS[:300])
    assert set(placed) == set(actors)
    for mailbox in IDS[:50]:
        assert place_mailbox(roster, mailbox) == max(actors, key=lambda a: sha256(a.encode() + mailbox).digest())


def test_a_roster_places_mailboxes_on_its_outboxes() -> None:
    for n_inboxes, n_outboxes in ((1, 1), (3, 1), (1, 4)):
        roster = make_roster(n_inboxes, n_outboxes)
        assert actors_of(roster, Role.OUTBOX) == outboxes(n_outboxes)
        assert place_mailbox(roster, device_of("alice")) == (Rendezvous(outboxes(n_outboxes)).actor(device_of("alice")))
