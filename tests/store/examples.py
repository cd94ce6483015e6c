"""Rows to store, all made from small numbers: equal numbers make equal bytes, whoever asks. And a look at all rows.

Knows nothing of any one store. The bytes mean nothing: a store does not look into them.
"""

from collections.abc import Iterable
from contextlib import contextmanager
from hashlib import sha256

import pytest

from noise.store.base import (
    ID_STEP,
    BundleRow,
    CacheRow,
    EpochWrite,
    HistoryRow,
    ManifestRow,
    ManifestWrite,
    PrekeyRow,
    PrekeyWrite,
    StatementRow,
)

OPERATIONS = ["append_manifest", "commit_epoch", "add_roster", "add_prekeys"]
NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000


def blob(*parts, size=32):
    """`size` bytes that depend on the parts."""
    seed = repr(parts).encode()
    return b"".join(sha256(seed + bytes([i & 255, i >> 8])).digest() for i in range(-(-size // 32)))[:size]


def make_statement(epoch, actor, incarnation=0, salt=0):
    name = b"\x01" + actor.to_bytes(4, "big")
    body = blob("statement", epoch, actor, incarnation, salt, size=120)
    return StatementRow(epoch, name, incarnation, body, blob("signature", body, size=64))


def make_bundle(epoch, lane, number, salt=0, body_bytes=500):
    sender = blob("sender", number % 3)
    first_pos = number * 10 % 2**40
    prev_id = ((number - 3) * ID_STEP) | lane if number >= 3 else -1
    body = blob("body", epoch, lane, number, salt, size=body_bytes)
    return BundleRow(number * ID_STEP | lane, epoch, first_pos, sender, number * 7, 10, prev_id, body)


def make_manifest(epoch, lane=0, count=3, first_number=None, salt=0, body_bytes=500):
    """A manifest with `count` bundles. Lanes count them on from epoch to epoch, if the count stays the same."""
    first = epoch * count if first_number is None else first_number
    bundles = [make_bundle(epoch, lane, first + i, salt, body_bytes) for i in range(count)]
    first_id, next_id = first * ID_STEP | lane, (first + count) * ID_STEP | lane
    return ManifestWrite(epoch, lane, make_statement(epoch, lane, salt=salt), first_id, next_id, bundles)


def manifest_row(write):
    return ManifestRow(*write[:5])


def mailboxes(count):
    """That many mailboxes, rising."""
    return sorted(blob("mailbox", i) for i in range(count))


def make_history(epoch, boxes: Iterable[bytes], prev_epoch=None, size=200):
    prev_epoch = epoch - 1 if prev_epoch is None else prev_epoch
    return [
        HistoryRow(box, epoch, prev_epoch, blob("record", epoch, box, size=size), blob("picks", epoch, size=40))
        for box in boxes
    ]


def make_cache(kind, epoch, keys):
    return [CacheRow(key, blob(kind, epoch, key, size=90)) for key in keys]


def make_epoch(epoch, box_count=4, salt=0, **changes):
    """An epoch with a row for each mailbox and in each cache; it replaces what the epoch before cached."""
    boxes = mailboxes(box_count)
    write = EpochWrite(
        epoch=epoch,
        record=blob("record", epoch, salt, size=150),
        leaf_hash=blob("leaf", epoch, salt),
        block_hash=blob("block", epoch) if epoch % 4 == 3 else None,
        checkpoint=blob("checkpoint", epoch, salt, size=180),
        statements=[make_statement(epoch, actor) for actor in (900, 901)],
        history=make_history(epoch, boxes),
        mailboxes=make_cache("mailboxes", epoch, boxes),
        senders=make_cache("senders", epoch, boxes[:3]),
        replay_epoch=epoch + 1,
        acks=make_cache("acks", epoch, boxes[:2]),
        challenges=make_cache("challenges", epoch, boxes[1:4]),
    )
    return write._replace(**changes)


def device(number):
    return blob("device", number)


def make_prekey(number, not_after_ms=NOW_MS + DAY_MS, salt=0):
    return PrekeyRow(number.to_bytes(8, "big"), not_after_ms, blob("prekey", number, not_after_ms, salt, size=213))


def make_upload(numbers=(), fallback=None, owner=0, **changes):
    """What the device `owner` uploads: one-time prekeys with these ids, and a fallback with that id."""
    one_time = [make_prekey(number) for number in numbers]
    write = PrekeyWrite(device(owner), NOW_MS, one_time, None if fallback is None else make_prekey(fallback), 8, 100)
    return write._replace(**changes)


@contextmanager
def refused(kind):
    """The block raises exactly that error, with its stable code."""
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.code == kind.default_code
    assert type(caught.value) is kind


async def everything(store):
    """All that a store holds, as one comparable value."""
    epochs = [await store.epoch_row(epoch) for epoch in range(store.next_epoch + 1)]
    return {
        "next": (store.next_epoch, store.replay_epoch),
        "epochs": epochs,
        "blocks": await store.block_hashes(),
        "statements": [await store.statements(epoch) for epoch in range(store.next_epoch + 3)],
        "manifests": [await store.manifests(epoch) for epoch in range(store.next_epoch + 3)],
        "bundles": await store.bundles_since(0, limit=10_000),
        "history": await store.history_since(0, limit=10_000),
        "mailboxes": await store.mailbox_cache(limit=10_000),
        "senders": await store.sender_cache(limit=10_000),
        "acks": await store.acks(limit=10_000),
        "challenges": await store.challenges(limit=10_000),
        "rosters": await store.rosters(),
        "prekeys": [await store.count_prekeys(device(number), NOW_MS) for number in range(4)],
    }


async def fill(store, epochs, lanes=2):
    for epoch in range(store.next_epoch, store.next_epoch + epochs):
        for lane in range(lanes):
            await store.append_manifest(make_manifest(epoch, lane))
        await store.commit_epoch(make_epoch(epoch))


async def write_one(store, operation, epoch=0, salt=0):
    """The same write for the same arguments; another salt makes it a refused one."""
    if operation == "append_manifest":
        await store.append_manifest(make_manifest(epoch, salt=salt))
    elif operation == "commit_epoch":
        await store.commit_epoch(make_epoch(epoch, salt=salt))
    elif operation == "add_prekeys":
        await store.add_prekeys(make_upload([1, 2], 3, owner=epoch))
    else:
        await store.add_roster(epoch, blob("roster", epoch, salt))
