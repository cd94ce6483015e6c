"""The steps of router, receiver and outbox against a plain model: who gets what, in which order.

Knows nothing of channels, tasks or the store, nor of what a stage refuses.
"""

from collections.abc import Sequence
from random import Random

import pytest

from noise.pipeline.batches import MergedEpoch, RoutedLane, SealedLane
from noise.pipeline.outbox import Delivered, deliver, encode_picks, parse_picks
from noise.pipeline.router import route as sort_lane
from noise.pipeline.slots import SlotReused, Slots
from noise.protocol.history import HISTORY_RECORD, MAILBOX_STATE, History, hash_state, map_key_of
from noise.protocol.identifiers import Actor, Role, make_seqs
from noise.protocol.merkle import leaf_hash, leaf_hashes, tree_root
from noise.protocol.signing import Signed
from noise.protocol.state_map import StateMap
from noise.protocol.statements import EPOCH_HEAD, hash_head, message_leaves, verify_statement
from noise.store.base import HistoryRow, StoreCorrupt
from tests.pipeline.stages import (
    N_OUTBOXES,
    OUTBOXES,
    PLACEMENT,
    ROSTER_OF_ALL,
    epochs,
    make_outbox,
    make_receiver,
    make_router,
    merge,
    route,
)
from tests.vectors.cast import ORIGIN, actor_key

SEEDS = range(6)

Message = tuple[bytes, bytes]  # seq, encoded leaf


def expected(lanes: Sequence[SealedLane]) -> dict[bytes, list[Message]]:
    """Every recipient's messages, by lane, then by position."""
    got: dict[bytes, list[Message]] = {}
    for sealed in lanes:
        for accepted in sealed.bundles:
            bundle = accepted.bundle
            seqs = make_seqs(sealed.epoch, sealed.lane, accepted.first_pos, bundle.count)
            for row, seq, leaf in zip(bundle.rows, seqs, message_leaves(bundle, seqs), strict=True):
                for mailbox in bundle.recipients[row.set_index].device_ids:
                    got.setdefault(mailbox, []).append((seq, leaf))
    return got


@pytest.mark.parametrize("seed", SEEDS)
def test_the_router(seed: int) -> None:
    """Each outbox gets one batch of each lane, with its own mailboxes' messages, each once, in the lane's order."""
    for lanes in epochs(seed):
        for sealed in lanes:
            wanted = expected([sealed])
            batches = make_router(sealed.lane).step(sealed)
            assert len(batches) == N_OUTBOXES
            got: dict[bytes, list[bytes]] = {}
            for number, routed in enumerate(batches):
                assert (routed.epoch, routed.lane, routed.manifest) == sealed[:3]
                n_deliveries = 0
                for part, mailboxes in routed.parts:
                    assert len(set(mailboxes)) == len(mailboxes)
                    chosen = part.indexes or range(part.bundle.count)
                    assert len(part.leaf_hashes) == len(chosen)
                    assert part.indexes == () or len(part.indexes) < part.bundle.count
                    for mailbox in mailboxes:
                        assert PLACEMENT.number(mailbox) == number
                        got.setdefault(mailbox, []).extend(part.leaf_hashes)
                        n_deliveries += len(chosen)
                assert routed.n_deliveries == n_deliveries
            assert got == {m: [leaf_hash(leaf) for _, leaf in messages] for m, messages in wanted.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_who_gets_the_same_shares_it(seed: int) -> None:
    """One part for all who receive the same messages of a bundle, in whatever outbox."""
    for lanes in epochs(seed):
        for sealed in lanes:
            for accepted in sealed.bundles:
                routed = sort_lane(sealed._replace(bundles=[accepted]), PLACEMENT, OUTBOXES)
                parts = {id(part): part for batch in routed.parts for part, _ in batch}
                assert len({part.indexes for part in parts.values()}) == len(parts)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_receiver(seed: int) -> None:
    """An epoch is complete with the last lane, whichever that is, and in seq order; epochs do not mix."""
    random = Random(seed)
    receivers = [make_receiver(number) for number in range(N_OUTBOXES)]
    arrivals: list[tuple[int, RoutedLane]] = []
    made = epochs(seed)
    for first in range(0, len(made), 2):
        pair = [(n, batch) for lanes in made[first : first + 2] for n, one in enumerate(route(lanes)) for batch in one]
        random.shuffle(pair)
        arrivals += pair
    merged: dict[tuple[int, int], MergedEpoch] = {}
    for number, batch in arrivals:
        complete = receivers[number].collect(batch)
        if complete is not None:
            done = merge(number, complete)
            assert (done.epoch, number) not in merged
            merged[done.epoch, number] = done
    assert sorted(merged) == [(epoch, n) for epoch in range(len(made)) for n in range(N_OUTBOXES)]
    for epoch, lanes in enumerate(made):
        wanted = expected(lanes)
        for number in range(N_OUTBOXES):
            done = merged[epoch, number]
            assert [row.actor for row in done.manifests] == [sealed.statement.actor for sealed in lanes]
            own = {m: [leaf_hash(leaf) for _, leaf in ms] for m, ms in wanted.items() if PLACEMENT.number(m) == number}
            assert {m: [h for part in parts for h in part.leaf_hashes] for m, parts in done.parts.items()} == own
            assert done.n_deliveries == sum(map(len, own.values()))


@pytest.mark.parametrize("seed", SEEDS)
def test_delivering(seed: int) -> None:
    """Records, states, the state map and the rows for the store, against a plain list of all messages so far."""
    states: list[StateMap[History]] = [StateMap.empty() for _ in OUTBOXES]
    so_far: dict[bytes, list[tuple[int, list[Message]]]] = {}
    records: dict[bytes, list[bytes]] = {}
    for epoch, lanes in enumerate(epochs(seed)):
        wanted = expected(lanes)
        for mailbox, messages in wanted.items():
            so_far.setdefault(mailbox, []).append((epoch, messages))
        for number, batches in enumerate(route(lanes)):
            parts = merge(number, batches).parts
            made: Delivered = deliver(states[number], epoch, parts)
            again = deliver(states[number], epoch, parts)
            assert (made.history, made.changes) == (again.history, again.changes), "it is pure"
            states[number] = states[number].update(made.changes)
            own = sorted(mailbox for mailbox in wanted if PLACEMENT.number(mailbox) == number)
            assert [row.mailbox for row in made.history] == own
            assert sorted(made.touched) == own
            for row in made.history:
                check_row(row, so_far[row.mailbox], records.setdefault(row.mailbox, []), states[number])


def check_row(
    row: HistoryRow, told: list[tuple[int, list[Message]]], records: list[bytes], states: StateMap[History]
) -> None:
    """`told`: epoch and messages of each record; `records`: those before, to which this one is added."""
    epoch, messages = told[-1]
    record = HISTORY_RECORD.decode(row.record)
    before = leaf_hashes(records)
    assert (record.mailbox, record.k, record.epoch) == (row.mailbox, len(records), epoch)
    assert record.n_messages == len(messages)
    assert record.prev_epoch == (told[-2][0] if len(told) > 1 else 2**64 - 1)
    assert row.prev_epoch == (told[-2][0] if len(told) > 1 else -1)
    assert record.delta_root == tree_root([leaf_hash(leaf) for _, leaf in messages])
    assert record.prev_root == tree_root(before)
    records.append(row.record)
    history = states.get(map_key_of(row.mailbox))
    assert history is not None
    state = history.state
    assert state.hist_root == tree_root([*before, leaf_hash(row.record)]) == history.records.root()
    assert (state.mailbox, state.since_epoch, state.last_epoch) == (row.mailbox, told[0][0], epoch)
    assert (state.hist_size, state.total) == (len(records), sum(len(ms) for _, ms in told))
    assert state.last_seq == messages[-1][0] == parse_picks(row)[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_picks_find_the_messages_again(seed: int) -> None:
    for lanes in epochs(seed):
        for number, batches in enumerate(route(lanes)):
            for parts in merge(number, batches).parts.values():
                row = HistoryRow(bytes(32), 0, -1, b"record", encode_picks(bytes(16), b"record", parts))
                last_seq, picks = parse_picks(row)
                assert last_seq == bytes(16)
                assert [(p.bundle_id, p.signature_crc, p.indexes) for p in picks] == [
                    (part.bundle_id, part.signature_crc, part.indexes) for part in parts
                ]
                for size in range(len(row.picks)):
                    try:
                        found = parse_picks(row._replace(picks=row.picks[:size]))[1]
                    except StoreCorrupt:
                        continue
                    assert found == picks[: len(found)]
                for wrong in (b"recorD", b"", b"record "):
                    with pytest.raises(StoreCorrupt):
                        parse_picks(row._replace(record=wrong))


@pytest.mark.parametrize("seed", SEEDS)
def test_heads(seed: int) -> None:
    """One signed head for each epoch, empty ones too, in a chain, over a map that anybody can make again."""
    outboxes = [make_outbox(number) for number in range(N_OUTBOXES)]
    previous = [bytes(32)] * N_OUTBOXES
    known: list[dict[bytes, bytes]] = [{} for _ in OUTBOXES]
    cached: list[dict[bytes, bytes]] = [{} for _ in OUTBOXES]
    for epoch, lanes in enumerate(epochs(seed)):
        for number, batches in enumerate(route(lanes)):
            outbox = outboxes[number]
            before = outbox.states
            made = outbox.step(merge(number, batches))
            actor = Actor(Role.OUTBOX, 0, number)
            row = made.head.statement
            assert (row.epoch, row.actor, row.incarnation) == (epoch, actor.encode(), 0)
            verify_statement(Signed(row.body, row.signature), "head", ROSTER_OF_ALL, actor, 0)
            head = EPOCH_HEAD.decode(row.body)
            assert (head.epoch, head.previous) == (epoch, previous[number])
            previous[number] = hash_head(row.body)
            known[number].update({mailbox: touched.state for mailbox, touched in made.touched.items()})
            naive = (
                StateMap[bytes].empty().update([(map_key_of(m), hash_state(s), s) for m, s in known[number].items()])
            )
            assert (
                (head.map_root, head.map_count)
                == (naive.root_hash, naive.count)
                == (
                    made.states.root_hash,
                    len(known[number]),
                )
            )
            assert before.count <= made.states.count
            assert made.replay_epoch <= epoch + 1
            cached[number].update(made.caches)
            for mailbox, value in made.caches:
                assert value[: MAILBOX_STATE.min_size] == known[number][mailbox]
    for number in range(N_OUTBOXES):
        stale = {m for m, state in known[number].items() if cached[number].get(m, b"")[: len(state)] != state}
        assert len(stale) <= 16 * len(epochs(seed))


def test_a_slot_is_signed_once() -> None:
    """And forward only."""
    actor = Actor(Role.OUTBOX, 0, 0)
    slots = Slots(actor_key(actor), "head", ORIGIN, actor, 3, 5)
    for epoch in range(5):
        with pytest.raises(SlotReused):
            slots.sign(epoch, b"body")
    row = slots.sign(5, b"body")
    assert row[:4] == (5, actor.encode(), 3, b"body")
    for body in (b"body", b"another"):
        with pytest.raises(SlotReused):
            slots.sign(5, body)
    slots.sign(7, b"body")
    with pytest.raises(SlotReused):
        slots.sign(6, b"body")


def test_an_epoch_is_delivered_once() -> None:
    outbox = make_outbox(next_epoch=1)
    lanes = epochs(0)
    with pytest.raises(SlotReused):
        outbox.step(merge(0, route(lanes[0])[0]))
