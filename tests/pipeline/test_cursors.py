"""Cursors that lie: whatever a client says of itself, it is refused, or gets a frame that parses; never anything else.

Knows nothing of connections. Where some client could honestly be where the cursor says, the frame must convince it.
"""

from pathlib import Path
from random import Random

import pytest
import trio

from noise.node import Node
from noise.pipeline.outbox import parse_picks
from noise.protocol.delta import Delta, DeltaShared, RecipientLists, SignedHead
from noise.protocol.errors import Rejected
from noise.protocol.follower import Follower
from noise.protocol.frames import START, Cursor, DeltaFrame, parse_frame
from noise.protocol.history import HISTORY_RECORD, History, apply_record, new_history
from noise.protocol.identifiers import NO_EPOCH
from noise.protocol.merkle import EMPTY_RANGE
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_RECORD, ROSTER, hash_roster
from noise.protocol.trust import NOTHING, Trusted
from noise.store.base import Store
from tests.pipeline.harness import Answers, Mailbox, ServerSide, signer, workload
from tests.pipeline.memory_provider import Keys, first_store, running_on, shaped

CURSORS = 300
PAGES = (1, 3, 256)


class Past:
    """All that a client of a mailbox can ever have verified."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox.device_id
        self.leaves: list[bytes] = []
        self.records: list[bytes] = []
        self.histories: list[History | None] = [None]
        self.sizes: list[int] = []
        self.versions: list[int] = []
        self.rosters: list[Signed] = []

    async def load(self, store: Store, rosters: list[Signed]) -> None:
        self.rosters = rosters
        self.leaves = await store.leaf_hashes(0, store.next_epoch)
        rows = {row.epoch: row for row in await store.history_since(0, limit=10_000) if row.mailbox == self.mailbox}
        hashes = [hash_roster(signed.body) for signed in rosters]
        for epoch in range(store.next_epoch):
            stored = await store.epoch_row(epoch)
            assert stored is not None
            self.records.append(stored.record)
            self.versions.append(hashes.index(EPOCH_RECORD.decode(stored.record).roster_hash) + 1)
            if epoch in rows:
                before = self.histories[-1] or new_history(self.mailbox, epoch)
                record = rows[epoch].record
                last_seq = parse_picks(rows[epoch])[0]
                self.histories.append(apply_record(before, HISTORY_RECORD.decode(record), record, last_seq))
            self.sizes.append(len(self.histories) - 1)

    def trusted(self, cursor: Cursor) -> Trusted | None:
        """What a client trusts who honestly has this cursor; None: nobody has."""
        log_size, version, hist_size, hist_next, last_epoch = cursor
        if log_size == 0:
            return NOTHING if cursor == START else None
        if not (log_size <= len(self.leaves) and self.versions[log_size - 1] <= version <= len(self.rosters)):
            return None
        delivered = self.histories[hist_next] if hist_next < len(self.histories) else None
        if self.sizes[log_size - 1] != hist_size or hist_next > hist_size:
            return None
        if last_epoch != (delivered.state.last_epoch if delivered else NO_EPOCH):
            return None
        log = EMPTY_RANGE
        for leaf in self.leaves[:log_size]:
            log = log.append(leaf)
        shared = DeltaShared(b"", self.records[log_size - 1], SignedHead(b"", bytes(64)), ())
        state = self.histories[hist_size]
        rosters = tuple(self.rosters[:version])
        return Trusted(rosters, log, (), shared, (), None, state and state.state, delivered, ())


def random_cursor(random: Random, past: Past) -> Cursor:
    """Mostly near the truth."""
    log_size = random.randrange(len(past.leaves) + 1)
    hist_size = past.sizes[log_size - 1] if log_size else 0
    hist_next = random.randint(0, hist_size)
    delivered = past.histories[hist_next]
    version = past.versions[log_size - 1] if log_size else 0
    true = [log_size, version, hist_size, hist_next, delivered.state.last_epoch if delivered else NO_EPOCH]
    for _ in range(random.choice([0, 0, 1, 1, 2, 5])):
        at = random.randrange(5)
        most = 2**32 - 1 if at == 1 else 2**64 - 1
        wrong = [true[at] + 1, true[at] - 1, 0, 1, most, most - 1, 2**63, random.randrange(most), random.randrange(40)]
        true[at] = min(max(random.choice(wrong), 0), most)
    return Cursor(*true)


async def ask(node: Node, past: Past, cursor: Cursor, lists: RecipientLists) -> Delta | None:
    """What the cursor brings; None: it is refused."""
    subscriber = ServerSide.__new__(ServerSide)
    subscriber.device_id, subscriber.cursor, subscriber.lists = past.mailbox, cursor, lists
    try:
        frame = parse_frame(await node.pipeline.fanout.catch_up(subscriber))
    except Rejected as refusal:
        assert refusal.code in {"cursor-ahead", "bad-cursor"}
        assert subscriber.cursor == cursor
        return None
    assert isinstance(frame, DeltaFrame)
    joined = node.pipeline.fanout.join(subscriber)
    node.pipeline.fanout.leave(subscriber)
    assert joined == (subscriber.cursor.hist_next == past.sizes[-1])
    return frame.delta


async def commit(node: Node, bundles: list) -> None:
    for bundle in bundles:
        answers = Answers()
        await answers.submit(node, 0, bundle.encode())
        await answers.wait_shown(node, 1)


@pytest.mark.parametrize("page_records", PAGES)
async def test_cursors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page_records: int, search_factor: int) -> None:
    monkeypatch.setattr("noise.pipeline.catchup.PAGE_RECORDS_MAX", page_records)
    random, keys = Random(page_records), Keys(tmp_path / "keys")
    store = await first_store(keys)
    bundles = workload(keys.origin, 5, 4, 24)
    past = Past(Mailbox(keys.origin, signer(1)))
    n_refused = n_convinced = 0
    with trio.fail_after(100):
        for shape in ((1, 1), (2, 2)):
            store = store.reopen()
            async with running_on(store, keys, shaped(tmp_path, *shape)) as node:
                await commit(node, [bundles.pop(0) for _ in range(10)])
        store = store.reopen()
        async with running_on(store, keys, shaped(tmp_path, 1, 2)) as node:
            await past.load(store, [Signed(*roster) for roster in node.rosters])
            assert past.sizes[-1] > 8
            for _ in range(CURSORS * search_factor):
                cursor = random_cursor(random, past)
                delta = await ask(node, past, cursor, RecipientLists())
                trusted = past.trusted(cursor)
                if delta is None:
                    assert trusted is None, f"an honest client was refused: {cursor}"
                    n_refused += 1
                elif trusted is not None:
                    one = Follower(keys.origin, past.mailbox, trusted, last_counter=lambda _: None)
                    one.adopt(one.check_delta(delta, RecipientLists()))
                    n_convinced += 1
    assert min(n_refused, n_convinced) > CURSORS // 5


async def test_every_honest_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From wherever a client may have stopped, page by page, to the end."""
    monkeypatch.setattr("noise.pipeline.catchup.PAGE_RECORDS_MAX", 2)
    keys = Keys(tmp_path / "keys")
    store = await first_store(keys)
    bundles = workload(keys.origin, 6, 4, 14)
    past = Past(Mailbox(keys.origin, signer(1)))
    with trio.fail_after(60):
        async with running_on(store, keys, shaped(tmp_path)) as node:
            await commit(node, bundles[:7])
        store = store.reopen()
        async with running_on(store, keys, shaped(tmp_path, 2, 2)) as node:
            await commit(node, bundles[7:])
            await past.load(store, [Signed(*roster) for roster in node.rosters])
            for log_size in range(1, len(past.leaves) + 1):
                for hist_next in range(past.sizes[log_size - 1] + 1):
                    delivered = past.histories[hist_next]
                    last_epoch = delivered.state.last_epoch if delivered else NO_EPOCH
                    version = past.versions[log_size - 1]
                    cursor = Cursor(log_size, version, past.sizes[log_size - 1], hist_next, last_epoch)
                    await follow_to_the_end(node, past, cursor)


async def follow_to_the_end(node: Node, past: Past, cursor: Cursor) -> None:
    trusted = past.trusted(cursor)
    assert trusted is not None
    one = Follower(node.origin, past.mailbox, trusted, last_counter=lambda _: None)
    assert one.cursor == cursor
    lists = RecipientLists()
    while True:
        delta = await ask(node, past, one.cursor, RecipientLists())
        assert delta is not None
        one.adopt(one.check_delta(delta, lists))
        if one.cursor.hist_next == past.sizes[-1]:
            break
    last = past.histories[-1]
    assert one.trusted.delivered == last
    assert one.trusted.log.size >= len(past.leaves)
    assert len(one.rosters) == ROSTER.decode(past.rosters[-1].body).version
