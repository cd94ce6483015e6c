"""The messages that kept parts name, as every sheet commits to them: leaves by mailbox, from the stored bundles.

Knows nothing of actors or signatures. What a disk has changed since leads to another root than the signed one: whoever
shows what comes from here compares it first.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import trio

from noise.pipeline.kept import KeptPart
from noise.pipeline.stored import lane_of, open_stored
from noise.protocol.envelope import Recipients
from noise.protocol.evidence.stage_views import items_of
from noise.protocol.identifiers import Actor, make_seqs
from noise.protocol.stages import item_hash, items_root
from noise.protocol.statements import RouteEntry, message_leaves
from noise.store.base import BundleRow, Store, StoreCorrupt

_BUNDLES_READ = 16  # a megabyte each at most


class Messages(NamedTuple):
    """Those of one bundle: the leaf of each, encoded, and the list of recipients that each went to."""

    leaves: Sequence[bytes]
    recipients: Sequence[Recipients]


def open_messages(row: BundleRow) -> Messages:
    """Raises StoreCorrupt."""
    bundle = open_stored(row).bundle
    leaves = message_leaves(bundle, make_seqs(row.epoch, lane_of(row.bundle_id), row.first_pos, bundle.count))
    return Messages(leaves, [bundle.recipients[place] for place, *_ in bundle.rows])


async def load_messages(store: Store, parts: Iterable[KeptPart]) -> dict[int, Messages]:
    """Of every bundle that the parts name, by id. Raises StoreCorrupt."""
    ids = sorted({part.bundle_id for part in parts})
    loaded: dict[int, Messages] = {}
    for first in range(0, len(ids), _BUNDLES_READ):
        group = ids[first : first + _BUNDLES_READ]
        rows = await store.bundles_by_id(group)
        if len(rows) != len(group):
            raise StoreCorrupt("bundles that an actor passed on are missing: run noise fsck")
        loaded |= await trio.to_thread.run_sync(partial(_open_all, rows))
    return loaded


def _open_all(rows: Mapping[int, BundleRow]) -> dict[int, Messages]:
    return {bundle_id: open_messages(row) for bundle_id, row in rows.items()}


def content_of(parts: Iterable[KeptPart], messages: Mapping[int, Messages]) -> dict[bytes, list[bytes]]:
    """The leaves of each mailbox, in the order of the parts. Raises StoreCorrupt."""
    content: dict[bytes, list[bytes]] = {}
    for part in parts:
        leaves = messages[part.bundle_id].leaves
        if part.indexes and max(part.indexes) >= len(leaves):
            raise StoreCorrupt("an actor passed on messages that their bundle has not: run noise fsck")
        chosen = [leaves[i] for i in part.indexes] if part.indexes else leaves
        for mailbox in part.mailboxes:
            content.setdefault(mailbox, []).extend(chosen)
    return content


def entry_of(outbox: Actor, content: Mapping[bytes, Sequence[bytes]]) -> RouteEntry:
    """What a router's sheet says of an outbox with this content."""
    hashes = [item_hash(*item) for item in items_of(content)]
    return RouteEntry(outbox.encode(), len(hashes), items_root(hashes))
