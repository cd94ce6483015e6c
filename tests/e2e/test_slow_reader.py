"""One client never reads while 100,000 messages come for it, and 2,000 others are silent: nobody else notices."""

import statistics
import time
from pathlib import Path

import trio

from noise.protocol.envelope import Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.push_session import CloseCode
from tests.e2e.provider_process import provider
from tests.e2e.raw_push import Crowd, RawPush, allow_connections, memory_kib, processor_s
from tests.load.wire import WireError

MESSAGES = 100_000
PER_BUNDLE = 250
PROBES = 30
CONNECTIONS = 2_000


async def _probe(one: RawPush, other: RawPush, ctr: int) -> float:
    """Seconds from sending a message to verifying it at another client."""
    members = Recipients(RecipientSet(bytes(16), tuple(sorted([one.device_id, other.device_id]))))
    bundle = build_bundle(one.signer, one.origin, ctr, [Draft(members, b"probe", (), 0)])
    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_bundle, bundle)
        new = await other.next_deliveries()
    assert [d.common for d in new] == [b"probe"]
    return time.perf_counter() - started


async def _flood(sender: RawPush, victim: RawPush) -> None:
    members = Recipients(RecipientSet(bytes(16), tuple(sorted([sender.device_id, victim.device_id]))))
    for first in range(0, MESSAGES, PER_BUNDLE):
        drafts = [Draft(members, b"%d" % n, (), 0) for n in range(first, first + PER_BUNDLE)]
        await sender.send_bundle(build_bundle(sender.signer, sender.origin, first, drafts))
        sender.deliveries.clear()


async def test_a_reader_that_never_reads(tmp_path: Path) -> None:
    with trio.fail_after(110), provider(tmp_path / "provider") as process:
        async with Crowd(process.url, process.origin) as crowd:
            await _never_read(process.pid, crowd)


async def _never_read(pid: int, crowd: Crowd) -> None:
    victim = await crowd.connect("victim", receive_buffer_bytes=4096)
    sender = await crowd.connect("sender")
    alice, bob = await crowd.connect("alice"), await crowd.connect("bob")
    before_kib = memory_kib(pid)
    calm = [await _probe(alice, bob, n) for n in range(PROBES)]
    busy: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_flood, sender, victim)
        while len(nursery.child_tasks):
            busy.append(await _probe(alice, bob, PROBES + len(busy)))
    grown_kib = memory_kib(pid, "VmHWM") - before_kib
    assert grown_kib < 96 << 10, f"memory grew by {grown_kib} KiB"
    # The same load without a slow reader is the yardstick: the flood itself costs latency, its victim must not.
    yardstick: list[float] = []
    async with trio.open_nursery() as nursery:
        other = await crowd.connect("other sender")
        quick = await crowd.connect("quick reader")
        nursery.start_soon(_drain, quick)
        async with trio.open_nursery() as flooding:
            flooding.start_soon(_flood, other, quick)
            while len(flooding.child_tasks):
                yardstick.append(await _probe(alice, bob, PROBES + len(busy) + len(yardstick)))
        nursery.cancel_scope.cancel()
    ratio = statistics.median(busy) / statistics.median(yardstick)
    print(f"latency: calm {statistics.median(calm):.4f} s, slow reader {ratio:.2f} of a quick one's, {grown_kib} KiB")
    assert ratio < 3
    # It was disconnected, with a reason, and resumes later with everything.
    try:
        while True:
            await victim.next_deliveries()
    except EOFError:
        pass
    except WireError as error:
        assert str(CloseCode.SLOW_READER) in str(error)
    await victim.connect()
    while len(victim.deliveries) < MESSAGES:
        await victim.next_deliveries()
    assert [d.common for d in victim.deliveries] == [b"%d" % n for n in range(MESSAGES)]


async def _drain(client: RawPush) -> None:
    while True:
        await client.next_deliveries()
        client.deliveries.clear()


async def test_two_thousand_idle_connections(tmp_path: Path) -> None:
    allow_connections()
    with trio.fail_after(110), provider(tmp_path / "provider", "--idle-ms", "1000") as process:
        async with Crowd(process.url, process.origin) as crowd:
            await _be_idle(process.pid, crowd)
        assert process.stop() == 0


async def _be_idle(pid: int, crowd: Crowd) -> None:
    alice, bob = await crowd.connect("alice"), await crowd.connect("bob")
    alone = statistics.median([await _probe(alice, bob, n) for n in range(PROBES)])
    before_kib = memory_kib(pid)
    limiter = trio.CapacityLimiter(50)

    async def connect(n: int) -> None:
        async with limiter:
            await crowd.connect(f"idle {n}")

    async with trio.open_nursery() as nursery:
        for n in range(CONNECTIONS):
            nursery.start_soon(connect, n)
    per_connection_kib = (memory_kib(pid) - before_kib) / CONNECTIONS
    used = processor_s(pid)
    started = time.perf_counter()
    with_crowd = statistics.median([await _probe(alice, bob, PROBES + n) for n in range(PROBES)])
    share = (processor_s(pid) - used) / (time.perf_counter() - started)
    print(f"{per_connection_kib:.1f} KiB a connection; latency {with_crowd / alone:.2f} times; {share:.0%} of a core")
    assert per_connection_kib < 64
    assert with_crowd < 5 * alone
