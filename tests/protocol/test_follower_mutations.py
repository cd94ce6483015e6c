"""A delta of which anything is changed, in any one place, is refused; and nothing has happened.

Knows nothing of signing keys: what a provider can do who holds them is in `test_follower_lies`.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from noise.protocol.delta import DELTA, Delta
from noise.protocol.errors import DecodeError, ProviderMisbehaved
from noise.protocol.follower import Step
from noise.protocol.trust import encode_trusted
from tests.pipeline.recording import MOMENTS, Moment, record
from tests.protocol.mutations import Mutation, mutations
from tests.protocol.structures import damaged

WAYS_PER_PLACE = 3  # under --long: all of them
DAMAGES = 100

every_moment = pytest.mark.parametrize("name", MOMENTS)


def all_mutations(name: str) -> list[Mutation]:
    """Things are taken from all other deltas of the recording, and from another provider's."""
    moment = record().moments[name]
    others = [other.delta for other in record().moments.values() if other is not moment]
    others += [record(1).moments[name].delta, record(1).moments["first contact"].delta]
    return list(mutations(DELTA, moment.delta, others))


def some_of(found: list[Mutation], ways: int, random: Random) -> Iterator[Mutation]:
    """Every place in some ways, chosen anew for each."""
    by_place: dict[str, list[Mutation]] = {}
    for mutation in found:
        by_place.setdefault(mutation.place, []).append(mutation)
    for ways_there in by_place.values():
        yield from random.sample(ways_there, min(ways, len(ways_there)))


def content_of(step: Step) -> Any:
    """What a step leads to, as values: two deltas with the same content are one and the same to a client."""
    return (
        encode_trusted(step.trusted),
        step.epoch,
        step.counters,
        [(d.leaf, d.common, d.ciphertext) for d in step.deliveries],
    )


def is_harmless(mutation: Mutation, changed: Delta, moment: Moment) -> bool:
    """What may change, and why.

    - `sets` may bring more recipient lists than the delta needs, in any order, some of them twice: a list is found by
      its root, which signed bytes name, and the connection's memory of them is bounded.
    - `shared` may be another epoch's, in which the mailbox's state and its path are the same: a heartbeat is one
      whoever's epoch it is. So may the whole delta: a client may be brought up to date in several ways.
    """
    if mutation.how == "taken" and mutation.place in {"", "shared"}:
        return any(changed.shared == other.delta.shared for other in record().moments.values())
    if mutation.place.startswith("sets"):
        return set(moment.delta.sets) <= set(changed.sets) | {_as_set(r) for r in moment.sent}
    return False


def _as_set(recipients: Any) -> Any:
    return (recipients.env_salt, recipients.device_ids)


@every_moment
def test_nothing_can_be_changed(name: str, search_factor: int) -> None:
    moment = record().moments[name]
    follower, lists, honest = moment.follower(), moment.lists(), moment.check(moment.delta)
    found = all_mutations(name)
    n_refused = 0
    for mutation in found if search_factor > 1 else some_of(found, WAYS_PER_PLACE, Random(name)):
        try:
            changed = DELTA.decode(DELTA.encode(mutation.value))
        except DecodeError:
            continue
        try:
            step = follower.check_delta(changed, lists)
        except ProviderMisbehaved as refusal:
            assert refusal.evidence == (DELTA.encode(changed),)
            n_refused += 1
        else:
            assert is_harmless(mutation, changed, moment), f"{mutation.place} {mutation.how}"
            if mutation.how != "taken" or mutation.place.startswith("sets"):
                assert content_of(step) == content_of(honest)
        assert follower.trusted is moment.trusted
    assert n_refused > 50
    step = follower.check_delta(moment.delta, lists)
    assert content_of(step) == content_of(honest)
    follower.adopt(step)
    assert encode_trusted(follower.trusted) == encode_trusted(honest.trusted)


@every_moment
def test_damage_on_the_wire(name: str, search_factor: int) -> None:
    """Bytes that parse at all are refused, unless they say the same."""
    moment, random = record().moments[name], Random(name)
    follower, lists, honest = moment.follower(), moment.lists(), moment.check(moment.delta)
    encoded = DELTA.encode(moment.delta)
    n_parsed = 0
    for _ in range(DAMAGES * search_factor):
        data = damaged(encoded, random)
        try:
            changed = DELTA.decode(data)
        except DecodeError:
            continue
        n_parsed += data != encoded
        try:
            step = follower.check_delta(changed, lists)
        except ProviderMisbehaved:
            continue
        assert content_of(step) == content_of(honest)
    assert n_parsed > DAMAGES // 10


@every_moment
def test_every_byte_counts(name: str, search_factor: int) -> None:
    """Flip a bit in every few bytes, begin elsewhere in each delta."""
    moment, random = record().moments[name], Random(name)
    follower, lists = moment.follower(), moment.lists()
    encoded = DELTA.encode(moment.delta)
    stride = max(1, 40 // search_factor)
    for at in range(random.randrange(stride), len(encoded), stride):
        flipped = bytearray(encoded)
        flipped[at] ^= 1 << random.randrange(8)
        with pytest.raises((DecodeError, ProviderMisbehaved)):
            follower.check_delta(DELTA.decode(bytes(flipped)), lists)
