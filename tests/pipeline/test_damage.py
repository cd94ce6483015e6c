"""A disk changes one bit, anywhere in the state: the provider refuses to start, refuses to serve that, or is not wrong.

Knows nothing of SQLite beyond its tables. Whatever happens, no client may ever be led to accuse an honest provider, and
nothing is signed a second time.
"""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
import trio

from noise.node import Layout, Node, check_node, create_node, open_node
from noise.pipeline import writeback
from noise.protocol.envelope import Bundle
from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.follower import Follower
from noise.protocol.frames import ACK_BODY, AckBody, AckFrame, Receipt
from noise.protocol.trust import encode_trusted, parse_trusted
from tests.pipeline.harness import Answers, Mailbox, options, signer, workload

DEVICES = 3
COLUMNS = {
    "state": ["value", "checksum"],
    "rosters": ["version", "body_and_signature"],
    "statements": ["epoch", "actor", "incarnation", "body", "signature"],
    "manifests": ["epoch", "lane", "actor", "incarnation", "first_id", "next_id"],
    "bundles": ["bundle_id", "epoch", "first_pos", "sender", "first_ctr", "count", "prev_id", "body"],
    "epochs": ["epoch", "record", "leaf_hash", "checkpoint"],
    "history": ["epoch", "mailbox", "prev_epoch", "record", "picks"],
    "caches": ["kind", "key", "value", "checksum"],
}
PLACES = [(table, column) for table, columns in COLUMNS.items() for column in columns]


class Stopped(Exception):
    """The process ends in the middle of an epoch."""


class Backup(NamedTuple):
    number: int
    trusted: bytes
    counters: dict[bytes, int]


class Past(NamedTuple):
    """A provider's directory, and what is out: bundles, some with receipts, and devices that have verified some."""

    data: Path
    bundles: list[Bundle]
    receipts: dict[int, Receipt]
    backups: list[Backup]
    statements: dict[tuple[Any, ...], tuple[bytes, bytes]]


def rows_of(data: Path, table: str) -> list[dict[str, Any]]:
    connection = sqlite3.connect(Layout(data).database)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
    finally:
        connection.close()


def statements_of(data: Path) -> dict[tuple[Any, ...], tuple[bytes, bytes]]:
    return {
        (row["epoch"], row["actor"], row["incarnation"]): (row["body"], row["signature"])
        for row in rows_of(data, "statements")
    }


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writeback, "_ROWS_MIN", 1)
        patch.setattr(writeback, "_SHARE", 100)
        yield trio.run(live, tmp_path_factory.mktemp("past") / "data", patch)


async def live(data: Path, patch: pytest.MonkeyPatch) -> Past:
    """Several epochs, caches that are behind, and an epoch of which only the manifests are durable."""
    origin = await create_node(data)
    bundles, receipts, backups = workload(origin, 4, DEVICES, 16), {}, []
    devices = [Mailbox(origin, signer(n + 1)) for n in range(DEVICES)]

    def back_up(number: int) -> None:
        device = devices[number]
        backups.append(Backup(number, encode_trusted(device.follower.trusted), dict(device.counters)))

    chosen = options(data, "parallel", 2, 2)
    with trio.fail_after(30):
        try:
            async with open_node(chosen) as node, trio.open_nursery() as nursery:
                nursery.start_soon(node.pipeline.run)
                await node.pipeline.fanout.ready.wait()
                for number in range(DEVICES):
                    back_up(number)
                for first in range(0, 14, 2):
                    answers = Answers()
                    for n in (first, first + 1):
                        await answers.submit(node, n, bundles[n].encode())
                    await answers.wait_shown(node, 2)
                    receipts |= {n: outcomes[0] for n, outcomes in answers.outcomes.items()}
                    await devices[first % DEVICES].catch_up(node)
                    if first == 6:
                        patch.setattr(writeback, "_ROWS_MIN", 0)  # from here on caches fall behind
                        acknowledge(node, devices[0])
                        for number in range(DEVICES):
                            back_up(number)
                node.store.commit_epoch = stop
                for n in (14, 15):
                    await node.pipeline.submit(bundles[n].encode(), lambda outcome, n=n: receipts.update({n: outcome}))
        except* Stopped:
            pass
    assert rows_of(data, "state")
    return Past(data, bundles, receipts, backups, statements_of(data))


async def stop(_: object) -> None:
    raise Stopped


def acknowledge(node: Node, device: Mailbox) -> None:
    key = device.signer.public_key
    body = AckBody(node.origin, device.device_id, key, 1, 1)
    frame = AckFrame(*device.signer.sign("ack", node.origin, ACK_BODY.encode(body)))
    node.pipeline.acks.accept(frame, node.origin, device.device_id, 1)


def damage(data: Path, table: str, column: str, random: Random) -> None:
    """Flip a bit of one value."""
    rows = rows_of(data, table)
    row = random.choice(rows)
    value = row[column]
    if isinstance(value, bytes):
        at = random.randrange(len(value))
        changed: Any = value[:at] + bytes([value[at] ^ 1 << random.randrange(8)]) + value[at + 1 :]
    else:
        changed = value ^ 1 << random.choice([0, 1, 2, 10, 20])
    where = " AND ".join(f"{name} IS ?" for name in row)
    connection = sqlite3.connect(Layout(data).database)
    connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {where}", (changed, *row.values()))
    connection.commit()
    connection.close()


async def serve(data: Path, past: Past) -> str:
    """Start, let everybody come back and everything be sent again. How it ended."""
    complaints: Counter[str] = Counter()
    chosen = options(data, "parallel", 2, 2)
    try:
        async with open_node(chosen) as node, trio.open_nursery() as nursery:
            nursery.start_soon(node.pipeline.run)
            await node.pipeline.fanout.ready.wait()
            last = await check_devices(node, past, complaints)
            await check_receipts(node, past, last, complaints)
            node.pipeline.stop()
    except NoiseError as refusal:
        assert any(word in refusal.detail.lower() for word in ("restore", "fsck", "check", "run the program")), refusal
        return f"refused to start: {refusal.code}"
    return "served" if not complaints else f"refused to serve some: {sorted(complaints)}"


async def check_devices(node: Node, past: Past, complaints: Counter[str]) -> Follower:
    """Every device comes back from every backup."""
    mailbox = None
    for number, trusted, counters in past.backups:
        mailbox = Mailbox(node.origin, signer(number + 1))
        mailbox.counters.update(counters)
        one = Follower(node.origin, mailbox.device_id, parse_trusted(trusted), last_counter=mailbox.counters.get)
        mailbox.follower = one
        try:
            await mailbox.catch_up(node)
        except ProviderMisbehaved:
            raise
        except NoiseError as refusal:
            complaints[refusal.code] += 1
            assert refusal.code in {"store-corrupt"}
    assert mailbox is not None
    return mailbox.follower


async def check_receipts(node: Node, past: Past, follower: Follower, complaints: Counter[str]) -> None:
    """The same receipt for whoever has one, and a right one for everybody."""
    answers = Answers()
    for n, bundle in enumerate(past.bundles):
        await answers.submit(node, n, bundle.encode())
    await answers.wait(len(past.bundles))
    follower.rosters = Follower(
        node.origin, bytes(32), follower.trusted._replace(rosters=tuple(node.rosters)), last_counter=lambda _: None
    ).rosters
    for n, bundle in enumerate(past.bundles):
        outcome = answers[n][0]
        if isinstance(outcome, Receipt):
            follower.check_receipt(outcome, bundle)
            assert past.receipts.get(n, outcome) == outcome
        else:
            complaints[outcome.code] += 1
            assert outcome.code in {"unavailable", "counter-conflict", "counter-too-old"}


def check_slots(data: Path, past: Past) -> None:
    """What was signed for a slot is still all that there is, but for the damaged row itself."""
    now = statements_of(data)
    different = [key for key, value in past.statements.items() if key in now and now[key] != value]
    assert len(different) <= 1


def try_damage(past: Past, directory: Path, table: str, column: str, random: Random) -> str:
    data = shutil.copytree(past.data, directory)
    damage(data, table, column, random)

    async def run() -> str:
        with trio.fail_after(20):
            return await serve(data, past)

    result = trio.run(run)
    check_slots(data, past)
    shutil.rmtree(directory)
    return result


def test_without_damage(past: Past, tmp_path: Path) -> None:
    """The past is what it should be: caches are behind, an epoch is to be ended, and all is well."""
    heads = next(row["value"] for row in rows_of(past.data, "state") if row["key"] == b"heads")
    next_epoch, replay_epoch = int.from_bytes(heads[:8], "big"), int.from_bytes(heads[8:16], "big")
    assert replay_epoch < next_epoch - 3
    assert {row["epoch"] for row in rows_of(past.data, "manifests")} == set(range(next_epoch + 1))
    assert {row["kind"] for row in rows_of(past.data, "caches")} == {0, 1, 2}
    data = shutil.copytree(past.data, tmp_path / "data")

    async def run() -> str:
        with trio.fail_after(20):
            return await serve(data, past)

    assert trio.run(run) == "served"


def test_lanes_under_other_numbers(past: Past, tmp_path: Path) -> None:
    """The numbers of lanes order what is replayed: it ends all the same."""
    for n, row in enumerate(rows_of(past.data, "manifests")):
        if row["first_id"] == row["next_id"]:
            continue
        data = shutil.copytree(past.data, tmp_path / str(n))
        connection = sqlite3.connect(Layout(data).database)
        connection.execute(
            "UPDATE manifests SET lane = lane + 2 WHERE epoch = ? AND lane = ?", (row["epoch"], row["lane"])
        )
        connection.commit()
        connection.close()

        async def run(data: Path = data) -> str:
            with trio.fail_after(20):
                return await serve(data, past)

        assert trio.run(run).startswith("refused")
        check_slots(data, past)


@pytest.mark.parametrize(("table", "column"), PLACES)
def test_one_bit(past: Past, tmp_path: Path, table: str, column: str, search_factor: int) -> None:
    random = Random(f"{table}.{column}")
    results: Counter[str] = Counter()
    for n in range(2 * search_factor):
        results[try_damage(past, tmp_path / str(n), table, column, random)] += 1
    print(table, column, dict(results))


@pytest.mark.parametrize(("table", "column"), PLACES)
def test_fsck_notices_one_bit(past: Past, tmp_path: Path, table: str, column: str, search_factor: int) -> None:
    """Any bit of any table, whether a provider would have stumbled over it or not."""
    random = Random(f"fsck {table}.{column}")
    for n in range(2 * search_factor):
        data = shutil.copytree(past.data, tmp_path / str(n))
        before = rows_of(data, table)
        damage(data, table, column, random)
        if rows_of(data, table) == before:
            continue  # the key of another row
        with pytest.raises(NoiseError) as caught:
            trio.run(partial(check_node, data, lambda *_: None, renew_mark=False))
        assert caught.value.code in {"store-corrupt", "store-foreign"}


def test_fsck_notices_a_moved_empty_lane(past: Past, tmp_path: Path) -> None:
    """Ids that no bundle has are part of the chain of ids, too."""
    empty = [row for row in rows_of(past.data, "manifests") if row["first_id"] == row["next_id"]]
    assert empty
    for n, row in enumerate(empty):
        data = shutil.copytree(past.data, tmp_path / str(n))
        connection = sqlite3.connect(Layout(data).database)
        where = (row["epoch"], row["lane"])
        connection.execute("UPDATE manifests SET first_id = first_id + 1024 WHERE epoch = ? AND lane = ?", where)
        connection.commit()
        connection.close()
        with pytest.raises(NoiseError) as caught:
            trio.run(partial(check_node, data, lambda *_: None, renew_mark=False))
        assert caught.value.code == "store-corrupt"


def test_fsck_of_an_undamaged_copy(past: Past, tmp_path: Path) -> None:
    data = shutil.copytree(past.data, tmp_path / "data")
    counts = trio.run(partial(check_node, data, lambda *_: None, renew_mark=False))
    assert counts.epochs > 6
    assert counts.messages > 20
