"""What a generator is told to do and what it reports: plain values that travel between processes as JSON.

Knows nothing of sockets or of how anything is measured.
"""

import json
from typing import Any, NamedTuple


class Phase(NamedTuple):
    """A stretch of load. `bundle`: messages in one.

    `rate`: deliveries per second, at random moments, whatever the server does (open loop); 0: every sender keeps
    `window` bundles without a receipt (closed loop). `strangers`: no load to measure, but bundles that name so many
    mailboxes that do not exist yet.
    """

    name: str
    bundle: int = 1
    rate: float = 0.0
    window: int = 1
    warm_up_s: float = 0.0
    seconds: float = 0.0
    strangers: int = 0


class Plan(NamedTuple):
    """`group_size` mailboxes receive whatever one of them sends; the first `senders_per_group` of each send.

    `sample`: one mailbox in so many is verified live. `ack_s`: how often a client acknowledges; 0: never.
    """

    url: str
    origin: str
    server_pid: int
    mailboxes: int
    group_size: int
    senders_per_group: int
    payload_bytes: int
    is_sealed: bool
    ack_s: float
    sample: int
    phases: list[Phase]


class Measured(NamedTuple):
    """One phase, between the two moments that bound its measured stretch. Times of processors in seconds.

    `frames`: delta frames. `down_bytes`, `up_bytes`: on the WebSockets, framing included, TCP and IP excluded.
    `latencies_ms`: of what was sent in that stretch, by percentile ("50", "90", "99", "99.9", "100").
    `others_cpu_s`: what neither server nor generator used, on the whole machine.
    """

    name: str
    seconds: float
    deliveries: int
    frames: int
    epochs: int
    down_bytes: int
    up_bytes: int
    server_cpu_s: float
    generator_cpu_s: float
    others_cpu_s: float
    latencies_ms: dict[str, float]
    server_rss_mib: float
    server_peak_mib: float


class Outcome(NamedTuple):
    """What a generator reports. `receipts`: how many came, and how many of them were verified."""

    measured: list[Measured]
    verified: int
    verified_live: int
    receipts: int
    receipts_verified: int
    complaints: list[str]


def encode_plan(plan: Plan) -> str:
    return json.dumps(plan._asdict() | {"phases": [phase._asdict() for phase in plan.phases]})


def parse_plan(text: str) -> Plan:
    members: dict[str, Any] = json.loads(text)
    return Plan(**members | {"phases": [Phase(**phase) for phase in members["phases"]]})


def encode_outcome(outcome: Outcome) -> str:
    return json.dumps(outcome._asdict() | {"measured": [measured._asdict() for measured in outcome.measured]})


def parse_outcome(text: str) -> Outcome:
    members: dict[str, Any] = json.loads(text)
    return Outcome(**members | {"measured": [Measured(**measured) for measured in members["measured"]]})
