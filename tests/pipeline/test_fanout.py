"""What subscribers are shown, and when: live, by heartbeat and page by page, while they come and go and epochs go by.

Knows nothing of sockets. Every frame that is ever pushed must verify, in the order in which it was pushed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock

from noise.node import Node
from noise.pipeline import epoch_log, fanout
from noise.pipeline.batches import CommittedEpoch
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.errors import Rejected
from noise.protocol.frames import Cursor
from noise.protocol.signing import Signer
from tests.pipeline.harness import Answers, Mailbox, ServerSide, signer
from tests.pipeline.memory_provider import Keys, first_store, opened, running_on, shaped

HEARTBEAT_S = 10.0


@asynccontextmanager
async def provider(directory: Path, inboxes: int = 1, outboxes: int = 1) -> AsyncIterator[Node]:
    keys = Keys(directory / "keys", inboxes, outboxes)
    async with running_on(await first_store(keys), keys, shaped(directory, inboxes, outboxes)) as node:
        yield node


class Live(ServerSide):
    """A connection whose client verifies each frame as it is pushed."""

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__(mailbox)
        self.mailbox = mailbox
        self.times: list[float] = []

    def push_nowait(self, frame: bytes) -> None:
        self.mailbox.take(frame)
        assert self.mailbox.follower.cursor == self.cursor
        self.times.append(trio.current_time())

    async def connect(self, node: Node) -> None:
        """Catch up, then be live."""
        while True:
            self.push_nowait(await node.pipeline.fanout.catch_up(self))
            if node.pipeline.fanout.join(self):
                return


def connection_of(mailbox: Mailbox) -> Live:
    mailbox.reset()
    return Live(mailbox)


class Sender:
    def __init__(self, node: Node, by: Signer) -> None:
        self.node = node
        self.signer = by
        self.next_ctr = 0
        self.answers = Answers()

    def write(self, to: list[bytes], text: bytes) -> Bundle:
        own = Mailbox(self.node.origin, self.signer).device_id
        members = Recipients(RecipientSet(bytes(16), tuple(sorted({own, *to}))))
        self.next_ctr += 1
        return build_bundle(self.signer, self.node.origin, self.next_ctr, [Draft(members, text, (), 0)])

    async def send(self, to: list[bytes], text: bytes) -> None:
        """Until it is shown."""
        bundle = self.write(to, text)
        await self.answers.submit(self.node, self.next_ctr, bundle.encode())
        await self.answers.wait_shown(self.node, self.next_ctr)


async def empty_epochs(node: Node, count: int) -> None:
    for _ in range(count):
        shown = trio.Event()
        node.pipeline.fanout.on_shown = lambda _, shown=shown: shown.set()
        node.pipeline.sequencer.notice_work()
        await shown.wait()


async def test_join_and_leave(tmp_path: Path) -> None:
    """Who has joined is pushed what concerns it, at once; who has left is pushed nothing, and misses nothing."""
    with trio.fail_after(20):
        async with provider(tmp_path, 2, 2) as node:
            pushes = node.pipeline.fanout
            alice, bob, carol = (Mailbox(node.origin, signer(n)) for n in (1, 2, 3))
            sender = Sender(node, alice.signer)
            lives = [connection_of(alice), connection_of(bob), connection_of(carol)]
            second = connection_of(Mailbox(node.origin, signer(2)))
            for live in (*lives, second):
                await live.connect(node)
            assert pushes.subscriber_count == 4
            await sender.send([bob.device_id], b"one")
            assert [len(live.times) for live in (*lives, second)] == [2, 2, 1, 2]
            pushes.leave(lives[1])
            pushes.leave(lives[1])
            pushes.leave(connection_of(carol))
            assert pushes.subscriber_count == 3
            await sender.send([bob.device_id, carol.device_id], b"two")
            assert [len(live.times) for live in (*lives, second)] == [3, 2, 2, 3]
            again = connection_of(bob)
            assert not pushes.join(again), "it lacks a record"
            await again.connect(node)
            await sender.send([bob.device_id], b"three")
            for live in (*lives, second, again):
                pushes.leave(live)
            assert pushes.subscriber_count == 0
            assert not pushes._subscribers
            assert not pushes._silent_since
        for mailbox in (alice, bob, second.mailbox):
            assert [d.common for d in mailbox.deliveries] == [b"one", b"two", b"three"]
        assert [d.common for d in carol.deliveries] == [b"two"]


async def test_nothing_is_shown_before_the_first_epoch(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    with trio.fail_after(10):
        async with opened(await first_store(keys), keys, shaped(tmp_path)) as node:
            live = connection_of(Mailbox(node.origin, signer(1)))
            assert not node.pipeline.fanout.join(live)
            with pytest.raises(Rejected) as caught:
                await node.pipeline.fanout.catch_up(live)
            assert caught.value.code == "unavailable"


async def test_heartbeats(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Whoever is pushed nothing is shown, in time, that nothing is withheld; and whoever is, is not bothered."""
    async with provider(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.pipeline.fanout.run_heartbeats)
        quiet, busy, gone = (connection_of(Mailbox(node.origin, signer(n))) for n in (1, 2, 3))
        for live in (quiet, busy, gone):
            await live.connect(node)
        node.pipeline.fanout.leave(gone)
        sender = Sender(node, signer(9))
        for n in range(60):
            await trio.sleep(1)
            await sender.send([busy.device_id], b"%d" % n)
        assert len(gone.times) == 1
        assert len(busy.times) == 61, "no heartbeats between messages"
        gaps = [b - a for a, b in zip(quiet.times, quiet.times[1:], strict=False)]
        assert 5 <= len(gaps) <= 6
        assert all(HEARTBEAT_S <= gap <= 1.2 * HEARTBEAT_S + 0.1 for gap in gaps)
        assert not quiet.mailbox.deliveries
        assert quiet.mailbox.follower.trusted.log.size > 30
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(4))
async def test_heartbeats_are_due_while_an_epoch_is_pushed(tmp_path: Path, mock_clock: MockClock, seed: int) -> None:
    """The clock jumps in the middle of the push: nobody may be shown the new state without its record."""
    n_mailboxes = 3 * fanout._PUSHES_AT_ONCE
    mock_clock.rate = 1000
    random = Random(seed)
    async with provider(tmp_path) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.pipeline.fanout.run_heartbeats)
        lives = [connection_of(Mailbox(node.origin, signer(100 + n))) for n in range(n_mailboxes)]
        for live in lives:
            await live.connect(node)
        jump_at = random.randrange(1, n_mailboxes)
        n_pushed = 0

        class Jumping(Live):
            def push_nowait(self, frame: bytes) -> None:
                nonlocal n_pushed
                super().push_nowait(frame)
                n_pushed += 1
                if n_pushed == jump_at:
                    mock_clock.jump(2 * HEARTBEAT_S)

        for live in lives:
            live.__class__ = Jumping
        await Sender(node, signer(9)).send([live.device_id for live in lives], b"to all")
        assert n_pushed >= n_mailboxes
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert all([d.common for d in live.mailbox.deliveries] == [b"to all"] for live in lives)


class Noted(Live):
    """Notes who was pushed to, in order; the first push sets `begun`."""

    pushed: ClassVar[list["Noted"]] = []
    begun: ClassVar[trio.Event] = trio.Event()

    def push_nowait(self, frame: bytes) -> None:
        super().push_nowait(frame)
        Noted.pushed.append(self)
        Noted.begun.set()


async def crowd(node: Node, n_mailboxes: int, n_connections: int) -> list[Noted]:
    """Live connections, so many to each mailbox."""
    Noted.pushed, Noted.begun = [], trio.Event()
    lives = []
    for n in range(n_mailboxes * n_connections):
        mailbox = Mailbox(node.origin, signer(100 + n // n_connections))
        live = connection_of(mailbox)
        await live.connect(node)
        live.__class__ = Noted
        lives.append(live)
    return lives


async def test_leaving_while_an_epoch_is_pushed(tmp_path: Path) -> None:
    """Connections end in the middle of a push, some of several to one mailbox: they are forgotten at once, for good."""
    with trio.fail_after(20):
        async with provider(tmp_path) as node:
            pushes = node.pipeline.fanout
            lives = await crowd(node, 20, 10)
            left: list[Noted] = []

            async def leave() -> None:
                await Noted.begun.wait()
                assert 0 < len(Noted.pushed) < len(lives)
                left.extend(live for live in lives if live not in Noted.pushed)
                for live in left:
                    pushes.leave(live)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(leave)
                await Sender(node, signer(9)).send(list({live.device_id for live in lives}), b"to all")
            assert left
            assert not set(left) & set(Noted.pushed)
            assert pushes.subscriber_count == len(lives) - len(left)
            for live in lives:
                pushes.leave(live)
            assert not pushes._silent_since
            assert not pushes._subscribers


async def test_coming_while_an_epoch_is_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who catches up over the epoch that is being pushed is not pushed it again."""
    monkeypatch.setattr(fanout, "_PUSHES_AT_ONCE", 1)
    with trio.fail_after(20):
        async with provider(tmp_path) as node:
            lives = await crowd(node, 100, 1)
            came = [connection_of(Mailbox(node.origin, signer(100 + number))) for number in range(100)]
            in_time: list[Live] = []

            async def come(live: Live) -> None:
                await Noted.begun.wait()
                await live.connect(node)
                if live.device_id not in {other.device_id for other in Noted.pushed}:
                    in_time.append(live)

            async with trio.open_nursery() as nursery:
                for live in came:
                    nursery.start_soon(come, live)
                await Sender(node, signer(9)).send([live.device_id for live in lives], b"to all")
            assert in_time, "some joined before their mailbox's turn"
            assert [[d.common for d in live.mailbox.deliveries] for live in (*lives, *came)] == [[b"to all"]] * 200


async def test_catching_up_while_epochs_go_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices come, fall behind within a page, leave and come back, under load: they get everything, once, in order."""
    monkeypatch.setattr("noise.pipeline.catchup.PAGE_RECORDS_MAX", 3)
    n_messages, n_devices = 120, 6
    mailboxes: list[Mailbox] = []
    seen: list[CommittedEpoch] = []

    async def follow(node: Node, mailbox: Mailbox, random: Random, stop: trio.Event) -> None:
        while not stop.is_set():
            live = connection_of(mailbox)
            for _ in range(random.randint(1, 6)):
                live.push_nowait(await node.pipeline.fanout.catch_up(live))
                if node.pipeline.fanout.join(live):
                    break
                for _ in range(random.randint(0, 3)):
                    await trio.sleep(0.001)
            for _ in range(random.randint(0, 10)):
                await trio.sleep(0.001)
            node.pipeline.fanout.leave(live)
        await connection_of(mailbox).connect(node)

    with trio.fail_after(60):
        async with provider(tmp_path, 2, 2) as node, trio.open_nursery() as nursery:
            node.pipeline.fanout.on_shown = seen.append
            mailboxes += [Mailbox(node.origin, signer(n + 1)) for n in range(n_devices)]
            stop = trio.Event()
            for n, mailbox in enumerate([*mailboxes, *(Mailbox(node.origin, signer(n + 1)) for n in range(n_devices))]):
                if n >= n_devices:
                    mailboxes.append(mailbox)
                nursery.start_soon(follow, node, mailbox, Random(n), stop)
            random, senders = Random(9), [Sender(node, signer(n + 1)) for n in range(n_devices)]
            for n in range(n_messages):
                sender = random.choice(senders)
                to = [mailbox.device_id for mailbox in random.sample(mailboxes[:n_devices], random.randint(1, 4))]
                bundle = sender.write(to, b"%d" % n)
                await sender.answers.submit(node, sender.next_ctr, bundle.encode())
                if n % 3 == 0:
                    await trio.sleep(0.002)
            for sender in senders:
                await sender.answers.wait(sender.next_ctr)
            await empty_epochs(node, 1)
            stop.set()
    for n in range(n_devices):
        one, other = mailboxes[n], mailboxes[n + n_devices]
        assert [d.leaf for d in one.deliveries] == [d.leaf for d in other.deliveries]
        assert [d.seq for d in one.deliveries] == sorted({d.seq for d in one.deliveries})
    total = {d.common for mailbox in mailboxes for d in mailbox.deliveries}
    assert total == {b"%d" % n for n in range(n_messages)}


async def test_far_behind_and_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves of the log leave memory while a subscriber is silent: it is shown a newer epoch before they do."""
    monkeypatch.setattr(epoch_log, "BLOCK_LEVEL", 2)
    monkeypatch.setattr(epoch_log, "BLOCK_SIZE", 4)
    monkeypatch.setattr(epoch_log, "_RECENT_BLOCKS", 8)
    monkeypatch.setattr(epoch_log, "_LOADED_BLOCKS", 2)
    monkeypatch.setattr(fanout, "RECENT_EPOCHS", 32)
    monkeypatch.setattr(fanout, "_HEARTBEAT_CHECK_S", 0.001)
    with trio.fail_after(30):
        async with provider(tmp_path) as node, trio.open_nursery() as nursery:
            nursery.start_soon(node.pipeline.fanout.run_heartbeats)
            live, sleeper = connection_of(Mailbox(node.origin, signer(1))), Mailbox(node.origin, signer(2))
            await live.connect(node)
            await sleeper.catch_up(node)
            for _ in range(60):
                await empty_epochs(node, 1)
                await trio.sleep(0.002)
            assert node.pipeline.sequencer.log.size > 60
            assert not node.pipeline.sequencer.log.has(sleeper.follower.cursor.log_size)
            await Sender(node, signer(3)).send([live.device_id, sleeper.device_id], b"hello")
            assert [d.common for d in live.mailbox.deliveries] == [b"hello"]
            assert 2 < len(live.times) < 10
            assert await sleeper.catch_up(node) == 1
            assert [d.common for d in sleeper.deliveries] == [b"hello"]
            nursery.cancel_scope.cancel()


async def test_the_cursor_of_nobody(tmp_path: Path) -> None:
    """A client that has verified more than there is, and cursors that contradict themselves."""
    with trio.fail_after(10):
        async with provider(tmp_path) as node:
            mailbox = Mailbox(node.origin, signer(1))
            await Sender(node, signer(2)).send([mailbox.device_id], b"one")
            await mailbox.catch_up(node)
            honest = mailbox.follower.cursor
            size = node.pipeline.sequencer.log.size
            for code, cursor in (
                ("cursor-ahead", honest._replace(log_size=size + 1)),
                ("cursor-ahead", honest._replace(roster_version=2)),
                ("bad-cursor", honest._replace(hist_size=2)),
                ("bad-cursor", honest._replace(hist_next=2)),
                ("bad-cursor", honest._replace(hist_size=0)),
                ("bad-cursor", Cursor(size, 1, 1, 2, 0)),
            ):
                live = connection_of(mailbox)
                live.cursor = cursor
                with pytest.raises(Rejected) as caught:
                    await node.pipeline.fanout.catch_up(live)
                assert caught.value.code == code, cursor
                assert live.cursor == cursor
