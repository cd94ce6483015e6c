"""Recovery believes only what leads to what was signed: each thing that could be otherwise, changed, and refused.

Knows nothing of files: the state is in memory, where nothing else would notice. Random damage is in `test_damage`.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
import trio

from noise.keys import actor_key_name
from noise.node import Node
from noise.pipeline import writeback
from noise.pipeline.fsck import check_store
from noise.pipeline.recovery import load_rosters
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.frames import Receipt
from noise.protocol.identifiers import Role, device_id_of, parse_actor
from noise.protocol.merkle import EMPTY_ROOT
from noise.protocol.statements import EPOCH_HEAD, EPOCH_OPEN, MANIFEST, MERGE_SHEET, ROUTE_SHEET
from noise.store import custody_memory
from noise.store.base import ID_STEP, ManifestRow, StoreCorrupt
from noise.store.custody_memory import MemoryCustody
from noise.store.memory import MemoryStore, Surviving
from tests.pipeline.harness import Answers, Mailbox, signer, workload
from tests.pipeline.memory_provider import Keys, first_store, opened, running_on, shaped

DEVICES = 3
RARE = 9


class Past(NamedTuple):
    """A provider that died while it ended an epoch, and what it had said by then."""

    keys: Keys
    kept: Surviving
    kept_by_actors: custody_memory.Surviving
    directory: Path
    bundles: list[Bundle]
    receipts: dict[int, Receipt]

    @property
    def next_epoch(self) -> int:
        return len(self.kept.epochs)

    def store(self) -> MemoryStore:
        store = MemoryStore()
        store._kept = copy.deepcopy(self.kept)
        return store

    def custody(self) -> MemoryCustody:
        custody = MemoryCustody()
        custody._kept = copy.deepcopy(self.kept_by_actors)
        return custody


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    directory = tmp_path_factory.mktemp("past")
    with pytest.MonkeyPatch.context() as patch:
        return trio.run(live, directory, patch)


async def live(directory: Path, patch: pytest.MonkeyPatch) -> Past:
    keys = Keys(directory / "keys", 2, 2)
    store, custody = await first_store(keys), MemoryCustody()
    bundles, receipts = [only_once(keys.origin), *workload(keys.origin, 8, DEVICES, 19)], {}
    try:
        async with running_on(store, keys, shaped(directory, 2, 2), custody) as node:
            for first in range(0, 16, 2):
                if first == 8:
                    patch.setattr(writeback, "_ROWS_MIN", 0)
                    patch.setattr(writeback, "_SHARE", 1000)
                answers = Answers()
                for n in (first, first + 1):
                    await answers.submit(node, n, bundles[n].encode())
                await answers.wait_shown(node, 2)
                receipts |= {n: outcomes[0] for n, outcomes in answers.outcomes.items()}
            store.fail_next("commit_epoch", stored=False)
            for n in range(16, 20):
                await node.pipeline.submit(bundles[n].encode(), lambda outcome, n=n: receipts.update({n: outcome}))
            await trio.sleep_forever()
    except* NoiseError:
        pass
    kept = store._kept
    assert {epoch for epoch, _ in kept.manifests} == set(range(len(kept.epochs) + 1))
    assert kept.replay_epoch < len(kept.epochs) - 2
    return Past(keys, kept, custody._kept, directory, bundles, receipts)


def only_once(origin: bytes) -> Bundle:
    """A message to nobody else, from a device that is never heard of again: its state is in the cache alone."""
    by = signer(RARE)
    members = Recipients(RecipientSet(bytes(16), (device_id_of(by.public_key),)))
    return build_bundle(by, origin, 0, [Draft(members, b"once", (), 0)])


async def start(past: Past, store: MemoryStore, custody: MemoryCustody) -> None:
    (past.directory / "high-water").unlink()
    async with opened(store, past.keys, shaped(past.directory, 2, 2), custody):
        pass


async def refuse(past: Past, store: MemoryStore, why: str) -> None:
    """It does not start, says what to do, and has signed nothing."""
    before, custody = copy.deepcopy(store._kept), past.custody()
    with pytest.raises(StoreCorrupt) as caught:
        await start(past, store, custody)
    assert any(word in caught.value.detail.lower() for word in ("restore", "fsck")), (why, caught.value)
    after = store._kept
    for name in ("statements", "manifests", "epochs", "history", "bundles", "rosters"):
        assert getattr(after, name) == getattr(before, name), why
    assert custody._kept == past.kept_by_actors, why


def flipped(data: bytes, at: int = -1) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


async def test_an_undamaged_copy_starts(past: Past) -> None:
    store = past.store()
    with trio.fail_after(20):
        await start(past, store, custody := past.custody())
        assert store.next_epoch == past.next_epoch + 1
        rosters = await load_rosters(store, past.keys.origin)
        assert (await check_store(store, past.keys.origin, rosters, lambda _: None)).epochs == store.next_epoch
    slots = past.kept.statements
    assert {key: store._kept.statements[key] for key in slots} == slots
    rows = past.kept_by_actors.rows
    assert {key: custody._kept.rows[key] for key in rows} == rows
    assert {key: row.statement for key, row in custody._kept.rows.items()} == store._kept.statements


Change = Callable[[Surviving, int], None]


def roster(change_bytes: Callable[[bytes], bytes]) -> Change:
    def change(kept: Surviving, _: int) -> None:
        kept.rosters[1] = kept.rosters[1]._replace(body_and_signature=change_bytes(kept.rosters[1].body_and_signature))

    return change


def of_last(role: Role) -> Callable[[Surviving, int], tuple[int, bytes, int]]:
    def find(kept: Surviving, next_epoch: int) -> tuple[int, bytes, int]:
        return next(key for key in sorted(kept.statements) if key[0] == next_epoch - 1 and key[1][0] == role)

    return find


def statement(role: Role, **changes: Any) -> Change:
    def change(kept: Surviving, next_epoch: int) -> None:
        key = of_last(role)(kept, next_epoch)
        row = kept.statements[key]
        made = row._replace(**{name: value(getattr(row, name)) for name, value in changes.items()})
        kept.statements[key] = made
        for place, manifest in kept.manifests.items():
            if manifest.statement == row:
                kept.manifests[place] = manifest._replace(statement=made)

    return change


def lost(table: str, find: Callable[[Surviving, int], Any]) -> Change:
    def change(kept: Surviving, next_epoch: int) -> None:
        del getattr(kept, table)[find(kept, next_epoch)]

    return change


def busy_lane(kept: Surviving, epoch: int) -> Any:
    return next(key for key, row in kept.manifests.items() if key[0] == epoch and row.first_id < row.next_id)


def shorter(epochs_back: int) -> Change:
    """A manifest whose last bundle is no longer in its range: a file's tables lead to no bundle otherwise."""

    def change(kept: Surviving, next_epoch: int) -> None:
        key = busy_lane(kept, next_epoch - epochs_back)
        row = kept.manifests[key]
        kept.manifests[key] = row._replace(next_id=row.next_id - ID_STEP)
        del kept.bundles[row.next_id - ID_STEP]

    return change


def bundle(epochs_back: int, **changes: Any) -> Change:
    def change(kept: Surviving, next_epoch: int) -> None:
        manifest = kept.manifests[busy_lane(kept, next_epoch - epochs_back)]
        row = kept.bundles[manifest.first_id]
        made = {name: value(getattr(row, name)) for name, value in changes.items()}
        kept.bundles[manifest.first_id] = row._replace(**made)

    return change


def beyond(kept: Surviving, row: ManifestRow, next_epoch: int) -> None:
    """A pending manifest lies one epoch further on, and is empty."""
    moved = row.statement._replace(epoch=next_epoch + 1)
    kept.manifests[next_epoch + 1, row.lane] = row._replace(epoch=next_epoch + 1, statement=moved, next_id=row.first_id)
    for bundle_id in range(row.first_id, row.next_id, ID_STEP):
        del kept.bundles[bundle_id]


def cached(name: str, change_value: Callable[[bytes], bytes]) -> Change:
    def change(kept: Surviving, _: int) -> None:
        cache = getattr(kept, name)
        for key in cache:
            cache[key] = change_value(cache[key])

    return change


def peaks_of_rare(kept: Surviving, _: int) -> None:
    mailbox = device_id_of(signer(RARE).public_key)
    kept.mailboxes[mailbox] = flipped(kept.mailboxes[mailbox])


def renumbered(kept: Surviving, _: int) -> None:
    kept.rosters[2] = kept.rosters.pop(1)._replace(version=2)


def replayed_record(kept: Surviving, _: int) -> None:
    row = kept.history[kept.history_keys[-1]]
    kept.history[kept.history_keys[-1]] = row._replace(record=flipped(row.record))


def no_replayed_record(kept: Surviving, _: int) -> None:
    del kept.history[kept.history_keys.pop()]


def last_record(**changes: Any) -> Change:
    def change(kept: Surviving, next_epoch: int) -> None:
        row = kept.epochs[-1]
        kept.epochs[-1] = row._replace(**{name: value(getattr(row, name)) for name, value in changes.items()})

    return change


CHANGES: dict[str, Change] = {
    "the last checkpoint": last_record(checkpoint=flipped),
    "the last record": last_record(record=flipped),
    "the last leaf": last_record(leaf_hash=flipped),
    "another leaf": lambda kept, _: kept.epochs.__setitem__(1, kept.epochs[1]._replace(leaf_hash=bytes(32))),
    "a head's body": statement(Role.OUTBOX, body=flipped),
    "a head's signature": statement(Role.OUTBOX, signature=flipped),
    "a head's incarnation": statement(Role.OUTBOX, incarnation=lambda i: i + 1),
    "a manifest's body": statement(Role.INBOX, body=flipped),
    "a manifest's signature": statement(Role.INBOX, signature=flipped),
    "a route sheet's body": statement(Role.ROUTER, body=flipped),
    "a route sheet's signature": statement(Role.ROUTER, signature=flipped),
    "a merge sheet's body": statement(Role.RECEIVER, body=flipped),
    "a merge sheet's signature": statement(Role.RECEIVER, signature=flipped),
    "the opening's body": statement(Role.SEQUENCER, body=flipped),
    "the opening's signature": statement(Role.SEQUENCER, signature=flipped),
    "no head": lost("statements", of_last(Role.OUTBOX)),
    "no route sheet": lost("statements", of_last(Role.ROUTER)),
    "no merge sheet": lost("statements", of_last(Role.RECEIVER)),
    "no opening": lost("statements", of_last(Role.SEQUENCER)),
    "a roster's number": renumbered,
    "no pending manifest": lambda kept, next_epoch: kept.manifests.pop(busy_lane(kept, next_epoch)) and None,
    "no roster": lambda kept, _: kept.rosters.clear(),
    "a roster's body": roster(lambda data: flipped(data, 40)),
    "a roster's signature": roster(flipped),
    "peaks of mailboxes": cached("mailboxes", flipped),
    "peaks of a mailbox that is not replayed": peaks_of_rare,
    "states of mailboxes": cached("mailboxes", lambda value: flipped(value, 40)),
    "cut mailboxes": cached("mailboxes", lambda value: value[:-1]),
    "cut senders": cached("senders", lambda value: value[:-1]),
    "a pending bundle's signature": bundle(0, body=lambda data: flipped(data, 32 + 32 + 8 + 5)),
    "a pending bundle's message": bundle(0, body=lambda data: flipped(data, len(data) - 9)),
    "a pending bundle's position": bundle(0, first_pos=lambda pos: pos + 1),
    "a pending bundle's sender": bundle(0, sender=flipped),
    "a pending bundle's counter": bundle(0, first_ctr=lambda ctr: ctr + 1),
    "a pending bundle's count": bundle(0, n_messages=lambda count: count + 1),
    "fewer pending bundles": shorter(0),
    "fewer bundles in the last epoch": shorter(1),
    "fewer bundles in a replayed epoch": shorter(2),
    "a replayed bundle's sender": bundle(2, sender=flipped),
    "a replayed bundle's counter": bundle(2, first_ctr=lambda ctr: ctr + 1),
    "a replayed bundle's count": bundle(2, n_messages=lambda count: count - 1),
    "a replayed bundle's body": bundle(2, body=lambda data: data[:-1]),
    "a replayed record": replayed_record,
    "no replayed record": no_replayed_record,
}


async def test_another_statement_that_is_rightly_signed(past: Past) -> None:
    """Of the last epoch, under which its record does not stand."""
    origin = past.keys.origin
    for role, label, codec, changes in (
        (Role.INBOX, "manifest", MANIFEST, {"previous": bytes(32)}),
        (Role.ROUTER, "route", ROUTE_SHEET, {"previous": bytes(32)}),
        (Role.RECEIVER, "merge", MERGE_SHEET, {"previous": bytes(32)}),
        (Role.OUTBOX, "head", EPOCH_HEAD, {"previous": bytes(32)}),
        (Role.SEQUENCER, "open", EPOCH_OPEN, {"handoffs_count": 1}),
    ):
        store = past.store()
        key = of_last(role)(store._kept, past.next_epoch)
        row = store._kept.statements[key]
        signing_key = past.keys.ring.load(actor_key_name(parse_actor(row.actor), row.incarnation))
        signed = signing_key.sign(label, origin, codec.encode(codec.decode(row.body)._replace(**changes)))
        statement(role, body=lambda _, signed=signed: signed.body, signature=lambda _, signed=signed: signed.signature)(
            store._kept, past.next_epoch
        )
        with trio.fail_after(10):
            await refuse(past, store, label)


async def test_a_pending_manifest_that_follows_another_one(past: Past) -> None:
    """Rightly signed, over its very bundles, and not in the chain of its lane."""
    store = past.store()
    place = busy_lane(store._kept, past.next_epoch)
    row = store._kept.manifests[place]
    inbox = past.keys.ring.load(actor_key_name(parse_actor(row.statement.actor), row.statement.incarnation))
    body = MANIFEST.decode(row.statement.body)._replace(previous=bytes(32))
    signed = inbox.sign("manifest", past.keys.origin, MANIFEST.encode(body))
    made = row.statement._replace(body=signed.body, signature=signed.signature)
    store._kept.manifests[place] = row._replace(statement=made)
    store._kept.statements[made[:3]] = made
    with trio.fail_after(10):
        await refuse(past, store, "previous")


async def test_a_manifest_beyond_the_next_epoch(past: Past) -> None:
    """Rightly signed, and empty: the epoch before it was lost."""
    store, next_epoch = past.store(), past.next_epoch
    place = busy_lane(store._kept, next_epoch)
    row = store._kept.manifests.pop(place)
    beyond(store._kept, row, next_epoch)
    made = store._kept.manifests[next_epoch + 1, place[1]]
    inbox = past.keys.ring.load(actor_key_name(parse_actor(row.statement.actor), row.statement.incarnation))
    body = MANIFEST.decode(row.statement.body)._replace(epoch=next_epoch + 1, n_messages=0, root=EMPTY_ROOT)
    signed = inbox.sign("manifest", past.keys.origin, MANIFEST.encode(body))
    rightly = made.statement._replace(body=signed.body, signature=signed.signature)
    store._kept.manifests[next_epoch + 1, place[1]] = made._replace(statement=rightly)
    with trio.fail_after(10):
        await refuse(past, store, "beyond")


@pytest.mark.parametrize("why", CHANGES)
async def test_refused(past: Past, why: str) -> None:
    store = past.store()
    before = copy.deepcopy(store._kept)
    CHANGES[why](store._kept, past.next_epoch)
    assert store._kept != before
    with trio.fail_after(10):
        await refuse(past, store, why)


async def test_every_byte_of_a_pending_bundle(past: Past) -> None:
    """It is verified again, whole, before anything is signed over it."""
    random = Random(1)
    key = busy_lane(past.kept, past.next_epoch)
    first_id = past.kept.manifests[key].first_id
    size = len(past.kept.bundles[first_id].body)
    with trio.fail_after(30):
        for at in range(random.randrange(9), size, 9):
            store = past.store()
            row = store._kept.bundles[first_id]
            store._kept.bundles[first_id] = row._replace(body=flipped(row.body, at))
            await refuse(past, store, f"byte {at}")


async def check_mailboxes(past: Past, store: MemoryStore) -> int:
    """Serve everybody from the start; how many were refused. Nobody is told anything that is not so."""
    n_refused = 0
    (past.directory / "high-water").unlink()
    async with running_on(store, past.keys, shaped(past.directory, 2, 2), past.custody()) as node:
        for number in (*range(1, DEVICES + 1), RARE):
            mailbox = Mailbox(node.origin, signer(number))
            try:
                await mailbox.catch_up(node)
            except ProviderMisbehaved:
                raise
            except StoreCorrupt:
                n_refused += 1
        n_refused += await check_receipts(past, node)
    return n_refused


async def check_receipts(past: Past, node: Node) -> int:
    answers = Answers()
    for n, sent in enumerate(past.bundles[:16]):
        await answers.submit(node, n, sent.encode())
    await answers.wait(16)
    refused = [outcomes[0] for outcomes in answers.outcomes.values() if not isinstance(outcomes[0], Receipt)]
    for n, outcomes in answers.outcomes.items():
        assert outcomes[0] == past.receipts[n] or outcomes[0] in refused
    assert {outcome.code for outcome in refused} <= {"unavailable", "counter-conflict"}
    return len(refused)


@pytest.mark.parametrize("column", ["record", "picks", "body"])
async def test_old_rows_are_checked_before_they_are_shown(past: Past, column: str) -> None:
    """Those that recovery does not read: any bit of a record, of where its messages are, or of a bundle."""
    random = Random(column)
    with trio.fail_after(60):
        assert await check_mailboxes(past, past.store()) == 0
        for _ in range(15):
            store = past.store()
            kept = store._kept
            if column == "body":
                old = [row.bundle_id for row in kept.bundles.values() if row.epoch < kept.replay_epoch]
                bundle_id = random.choice(old)
                row = kept.bundles[bundle_id]
                kept.bundles[bundle_id] = row._replace(body=flipped(row.body, random.randrange(len(row.body))))
            else:
                key = random.choice([key for key in kept.history_keys if key[0] < kept.replay_epoch])
                data = getattr(kept.history[key], column)
                changed = flipped(data, random.randrange(16 if column == "picks" else 0, len(data)))
                kept.history[key] = kept.history[key]._replace(**{column: changed})
            assert await check_mailboxes(past, store) > 0
