"""Watching a client's state without missing a change, waking who waits, and waiting before another attempt."""

import trio
import trio.testing

from noise_client.backoff import Backoff
from noise_client.changed import Changed
from noise_client.states import ChangeLog, ClientState

CONNECTING, SYNCING, LIVE = ClientState.CONNECTING, ClientState.SYNCING, ClientState.LIVE


async def test_a_watcher_sees_the_present_state_and_every_later_one() -> None:
    log = ChangeLog(CONNECTING)
    early = log.watch()
    for state in (SYNCING, LIVE, LIVE, ClientState.BACKOFF):
        log.enter(state)
    late = log.watch()
    log.enter(CONNECTING)
    log.enter(ClientState.CLOSED)
    log.end()
    with trio.fail_after(10):
        assert [state async for state in early] == [
            CONNECTING,
            SYNCING,
            LIVE,
            ClientState.BACKOFF,
            CONNECTING,
            ClientState.CLOSED,
        ]
        assert [state async for state in late] == [ClientState.BACKOFF, CONNECTING, ClientState.CLOSED]
        assert [state async for state in late] == []


async def test_a_watcher_waits_for_what_comes() -> None:
    log = ChangeLog(CONNECTING)
    seen: list[ClientState] = []

    async def watch() -> None:
        async for state in log.watch():
            seen.append(state)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            assert seen == [CONNECTING]
            log.enter(LIVE)
            await trio.testing.wait_all_tasks_blocked()
            assert seen == [CONNECTING, LIVE]
            log.enter(ClientState.CLOSED)
            log.end()
    assert seen == [CONNECTING, LIVE, ClientState.CLOSED]


def test_after_the_end_nothing_changes() -> None:
    log = ChangeLog(CONNECTING)
    log.enter(ClientState.CLOSED)
    log.end()
    log.enter(LIVE)
    assert log.value is ClientState.CLOSED


async def test_a_notice_wakes_those_who_wait_and_nobody_later() -> None:
    changed = Changed()
    woken: list[int] = []

    async def wait(number: int) -> None:
        await changed.wait()
        woken.append(number)

    with trio.fail_after(10):
        changed.notify()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, 1)
            nursery.start_soon(wait, 2)
            await trio.testing.wait_all_tasks_blocked()
            assert woken == []
            changed.notify()
    assert sorted(woken) == [1, 2]


def test_waits_have_full_jitter_double_and_are_bounded() -> None:
    backoffs = [Backoff(0.5, 3.0) for _ in range(300)]
    for bound_s in (0.5, 1.0, 2.0, 3.0, 3.0):
        waits = [backoff.next_s() for backoff in backoffs]
        assert 0 <= min(waits) < bound_s / 4
        assert bound_s * 3 / 4 < max(waits) <= bound_s
    for backoff in backoffs:
        backoff.reset()
    assert max(backoff.next_s() for backoff in backoffs) <= 0.5
