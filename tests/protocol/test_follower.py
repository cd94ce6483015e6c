"""An honest provider is always believed: whoever follows, in whatever steps, from whatever it had stored.

Knows nothing of lies: those are in `test_follower_mutations`, `test_follower_lies` and `test_history_lies`.
"""

from pathlib import Path
from random import Random

import pytest
import trio

from noise.node import Node
from noise.protocol.delta import Delivery
from noise.protocol.errors import SignatureError
from noise.protocol.follower import Follower, new_lists
from noise.protocol.frames import DeltaFrame, encode_frame_json, parse_frame_json
from noise.protocol.identifiers import parse_seq
from noise.protocol.statements import ROSTER
from noise.protocol.trust import Trusted, encode_trusted, parse_trusted
from tests.pipeline.harness import Answers, Mailbox, signer, workload
from tests.pipeline.memory_provider import Keys, first_store, running_on, shaped
from tests.pipeline.recording import MOMENTS, Moment, record

DEVICES = 5
EXPECTED = {  # how many records, rosters and recipient lists each moment brings
    "first contact, nothing arrived for anybody": (0, 1, 0),
    "first contact": (1, 1, 2),
    "nothing arrived yet": (0, 0, 0),
    "the next epoch": (1, 0, 2),
    "heartbeat": (0, 0, 0),
    "the same epoch again": (0, 0, 0),
    "epochs were skipped": (2, 0, 2),
    "another roster": (1, 1, 1),
    "first page": (2, 0, 1),
    "a page before the trusted state": (2, 0, 0),
    "a page across the trusted states": (5, 0, 1),
    "the last page": (1, 0, 0),
}


def plain(deliveries: list[Delivery]) -> list[tuple[object, ...]]:
    """As values: recipient lists are objects."""
    return [(*d._replace(recipients=()), d.recipients.root, d.recipients.device_ids) for d in deliveries]  # type: ignore


@pytest.mark.parametrize("name", MOMENTS)
def test_moments(name: str) -> None:
    """Checking is pure and says the same each time, through the readable face and from a stored state too."""
    moment = record().moments[name]
    delta = moment.delta
    shape = (len(delta.history), len(delta.rosters), len(delta.sets))
    assert shape == EXPECTED[name]
    follower = moment.follower()
    before = encode_trusted(follower.trusted)
    steps = [follower.check_delta(delta, moment.lists()) for _ in range(2)]
    assert encode_trusted(follower.trusted) == before
    shown = parse_frame_json(encode_frame_json(DeltaFrame(delta)))
    assert isinstance(shown, DeltaFrame)
    stored = Follower(moment.origin, moment.device_id, parse_trusted(before), last_counter=moment.counters.get)
    steps += [moment.check(shown.delta), stored.check_delta(delta, moment.lists())]
    assert len({encode_trusted(step.trusted) for step in steps}) == 1
    assert all(plain(step.deliveries) == plain(steps[0].deliveries) for step in steps)
    step = steps[0]
    for delivery in step.deliveries:
        assert moment.device_id in delivery.recipients.device_ids
        assert parse_seq(delivery.seq)[0] <= step.epoch
    follower.adopt(step)
    cursor = follower.cursor
    assert (cursor.log_size, cursor.roster_version) == (
        step.epoch + 1,
        ROSTER.decode(step.trusted.rosters[-1].body).version,
    )
    reached = step.trusted.delivered.state.hist_size if step.trusted.delivered else 0
    assert cursor.hist_next == reached <= cursor.hist_size
    assert (reached < cursor.hist_size) == bool(delta.tail_hashes)


def test_the_moments_are_one_life() -> None:
    """Bob's moments lead from one to the next, and bring everything that was promised to him, once, in order."""
    moments = [m for m in record().moments.values() if m.device_id == record().moments["heartbeat"].device_id]
    seqs: list[bytes] = []
    for moment in moments:
        step = moment.check(moment.delta)
        seqs += [delivery.seq for delivery in step.deliveries]
    assert seqs == sorted(set(seqs))
    last = moments[-1].check(moments[-1].delta).trusted
    assert last.state is not None
    assert last.delivered is not None
    assert (last.delivered.state, last.bounds, last.state.total) == (last.state, (), len(seqs))
    assert len(last.rosters) == 2


def test_a_follower_of_another_provider() -> None:
    """What was stored for one origin is not taken for another's."""
    trusted = record().moments["heartbeat"].trusted
    with pytest.raises(SignatureError) as caught:
        Follower(record(1).origin, bytes(32), trusted, last_counter=lambda _: None)
    assert caught.value.code == "wrong-origin"


class Backup:
    """A copy of a device's store, taken at some time."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.trusted = encode_trusted(mailbox.follower.trusted)
        self.counters = dict(mailbox.counters)
        self.deliveries = list(mailbox.deliveries)

    def restore(self, origin: bytes, number: int) -> Mailbox:
        mailbox = Mailbox(origin, signer(number))
        mailbox.counters.update(self.counters)
        mailbox.deliveries = list(self.deliveries)
        trusted: Trusted = parse_trusted(self.trusted)
        mailbox.follower = Follower(origin, mailbox.device_id, trusted, last_counter=mailbox.counters.get)
        mailbox.reset()
        return mailbox


async def commit(node: Node, bundles: list) -> None:
    answers = Answers()
    for n, bundle in enumerate(bundles):
        await answers.submit(node, n, bundle.encode())
    await answers.wait_shown(node, len(bundles))


@pytest.mark.parametrize("seed", range(4))
async def test_every_way_of_following_leads_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Often, seldom, in small pages, through changes of roster, and from backups of any age."""
    random = Random(seed)
    keys = Keys(tmp_path / "keys", 2, 2)
    store = await first_store(keys)
    bundles = workload(keys.origin, seed, DEVICES, 60)
    often = [Mailbox(keys.origin, signer(n + 1)) for n in range(DEVICES)]
    seldom = [Mailbox(keys.origin, signer(n + 1)) for n in range(DEVICES)]
    backups: list[tuple[int, Backup]] = []
    with trio.fail_after(60):
        for inboxes, outboxes in ((2, 2), (1, 3), (3, 1), (3, 1)):
            store = store.reopen()
            async with running_on(store, keys, shaped(tmp_path, inboxes, outboxes)) as node:
                for _ in range(3):
                    part = [bundles.pop(0) for _ in range(5)]
                    await commit(node, part)
                    for number, mailbox in enumerate(often):
                        if random.random() < 0.7:
                            monkeypatch.setattr("noise.pipeline.catchup.PAGE_RECORDS_MAX", random.choice([1, 2, 256]))
                            monkeypatch.setattr("noise.pipeline.catchup.PAGE_BYTES_MAX", random.choice([1, 1 << 20]))
                            await mailbox.catch_up(node)
                        if random.random() < 0.3:
                            backups.append((number, Backup(mailbox)))
        async with running_on(store.reopen(), keys, shaped(tmp_path, 3, 1)) as node:
            restored = [(number, backup.restore(keys.origin, number + 1)) for number, backup in backups]
            for _, mailbox in [*enumerate(often), *enumerate(seldom), *restored]:
                await mailbox.catch_up(node)
    assert len(backups) > 5
    for number, mailbox in [*enumerate(seldom), *restored]:
        assert plain(mailbox.deliveries) == plain(often[number].deliveries)
        assert mailbox.counters == often[number].counters
        one, other = mailbox.follower.trusted, often[number].follower.trusted
        assert (one.state, one.delivered, one.bounds) == (other.state, other.delivered, ())
    assert {len(ROSTER.decode(m.follower.trusted.rosters[-1].body).lanes) for m in seldom} == {3}


async def test_several_rosters_at_once(tmp_path: Path) -> None:
    """A device that was away while the provider changed its shape three times gets the whole chain in one delta."""
    keys = Keys(tmp_path / "keys")
    store = await first_store(keys)
    mailbox = Mailbox(keys.origin, signer(1))
    with trio.fail_after(20):
        async with running_on(store, keys, shaped(tmp_path)) as node:
            await mailbox.catch_up(node)
        bundles = workload(keys.origin, 1, 3, 3)
        for inboxes, outboxes in ((2, 1), (1, 2), (2, 2)):
            store = store.reopen()
            async with running_on(store, keys, shaped(tmp_path, inboxes, outboxes)) as node:
                await commit(node, [bundles.pop(0)])
                newcomer = Mailbox(keys.origin, signer(1))
                await newcomer.catch_up(node)
        async with running_on(store.reopen(), keys, shaped(tmp_path, 2, 2)) as node:
            assert len(mailbox.follower.rosters) == 1
            await mailbox.catch_up(node)
            await newcomer.catch_up(node)
    assert [roster.version for roster in mailbox.follower.rosters] == [1, 2, 3, 4]
    assert [roster.version for roster in newcomer.follower.rosters] == [4], "who comes later needs only the last one"
    assert newcomer.follower.trusted.state == mailbox.follower.trusted.state


def test_lists_that_came_before_are_not_needed_again() -> None:
    """And those that never came are: a connection begins without any."""
    moment: Moment = record().moments["a page before the trusted state"]
    assert moment.sent
    assert not moment.delta.sets
    assert new_lists(moment.delta) == []
    assert moment.check(moment.delta).deliveries
