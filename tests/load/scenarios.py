"""Which loads there are, what each is for, and which numbers are promised.

Knows nothing of how load is made or measured.
"""

from collections.abc import Callable
from typing import NamedTuple

from tests.load.plan import Measured, Phase


class Options(NamedTuple):
    """What the command line chooses. `existing`: mailboxes in all, the second time, in the scenario `mailboxes`.

    `pushed`: how many mailboxes one message goes to, in the scenario `push`.
    """

    mailboxes: int
    seconds: float
    warm_up_s: float
    bundle: int
    window: int
    payload_bytes: int
    is_sealed: bool
    ack_s: float
    sample: int
    epoch_ms: int
    existing: int
    pushed: int


class Target(NamedTuple):
    """A promise about one scenario's phases. `limit` is the largest good value; the smallest, if `is_least`."""

    text: str
    value: Callable[[list[Measured]], float]
    limit: float
    unit: str
    is_least: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.is_least else value <= self.limit


class Scenario(NamedTuple):
    """`load`: in words. `group_size`, `senders_per_group`, `mailboxes`: see `tests.load.plan.Plan`."""

    name: str
    load: str
    phases: list[Phase]
    mailboxes: int
    group_size: int
    senders_per_group: int
    targets: list[Target]


def _rate(measured: Measured) -> float:
    return measured.deliveries / measured.seconds


def _cpu_us(measured: Measured) -> float:
    return measured.server_cpu_s / max(1, measured.deliveries) * 1e6


def _core_share(measured: Measured) -> float:
    return measured.server_cpu_s / measured.seconds * 100


def throughput(o: Options) -> Scenario:
    phase = Phase("throughput", o.bundle, window=o.window, warm_up_s=o.warm_up_s, seconds=o.seconds)
    target = Target("attested, durable deliveries/s", lambda m: _rate(m[0]), 100_000, "/s", is_least=True)
    load = f"closed loop, {o.window} bundles of {o.bundle} in flight per mailbox, 2 recipients"
    return Scenario("throughput", load, [phase], o.mailboxes, 2, 2, [target])


_PACED_RATE = 10_000  # deliveries per second


def paced(o: Options) -> Scenario:
    phase = Phase("paced", o.bundle, rate=_PACED_RATE, warm_up_s=o.warm_up_s, seconds=o.seconds)
    latency = Target("99th percentile, from when it was due to parsed", lambda m: m[0].latencies_ms["99"], 60, "ms")
    share = Target("of one core", lambda m: _core_share(m[0]), 60, "%")
    load = f"open loop, {_PACED_RATE:,} deliveries/s at random moments, bundles of {o.bundle}, 2 recipients"
    return Scenario("paced", load, [phase], o.mailboxes, 2, 2, [latency, share])


def push(o: Options) -> Scenario:
    phase = Phase("push", 1, window=1, warm_up_s=o.warm_up_s, seconds=o.seconds)
    load = f"closed loop, one sender, one message to {o.pushed} recipients in every epoch: a delivery is a frame"
    return Scenario("push", load, [phase], o.pushed, o.pushed, 1, [])


_MAILBOXES_BUNDLE = 8


def mailboxes(o: Options) -> Scenario:
    few, many = o.mailboxes, o.existing
    phase = Phase(f"of {few:,}", _MAILBOXES_BUNDLE, rate=_PACED_RATE, warm_up_s=o.warm_up_s, seconds=o.seconds)
    phases = [phase, Phase("more mailboxes", strangers=many - few - 1), phase._replace(name=f"of {many:,}")]
    target = Target(
        f"processor time per delivery with {many:,} mailboxes, to that with {few:,}",
        lambda m: _cpu_us(m[1]) / _cpu_us(m[0]),
        2,
        "x",
    )
    load = f"{few:,} active mailboxes, {_PACED_RATE:,} deliveries/s, bundles of {_MAILBOXES_BUNDLE}, 2 recipients"
    return Scenario("mailboxes", load, phases, few, 2, 2, [target])


SCENARIOS: dict[str, Callable[[Options], Scenario]] = {
    "throughput": throughput,
    "paced": paced,
    "push": push,
    "mailboxes": mailboxes,
}
PUSH_ALONE = "push-alone"
PUSH_ALONE_LIMIT_US = 25.0

SHEETS_LIMIT_PERCENT = 15.0
"""Of the server's processor time, for all that makes liars of single actors known."""
