"""The tables: machine, what was measured, what was promised.

Knows nothing of how anything was measured.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.load.plan import Measured, Outcome
from tests.load.scenarios import Scenario, Target

COUNTED = """\
A delivery is one message at one recipient, counted when the frame that brings it was received whole and parsed there.
us/dlv: the server's processor time, all threads, user and system, per delivery. core: that time as a share of one core.
p50 to max, ms: from the moment a bundle was due (closed loop: sent) to its frame being parsed at a recipient.
down, up: bytes on the WebSockets per delivery, framing included, TCP and IP excluded. RSS: MiB, at the end.
gen: the generator's own share of one core. others: cores' worth of anything else that ran on this machine meanwhile."""

_GENERATOR_FULL = 0.9
_OTHERS_LOUD = 0.1


class Result(NamedTuple):
    scenario: Scenario
    outcome: Outcome


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need be; the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )


_HEADER = (
    "scenario",
    "deliveries/s",
    "us/dlv",
    "core",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "down",
    "up",
    "epochs/s",
    "dlv/epoch",
    "frames/s",
    "RSS",
    "gen",
    "others",
)


def _row(name: str, m: Measured) -> list[str]:
    n = max(1, m.deliveries)
    latencies = [f"{m.latencies_ms[p]:.1f}" if p in m.latencies_ms else "-" for p in ("50", "90", "99", "99.9", "100")]
    return [
        name,
        f"{m.deliveries / m.seconds:,.0f}",
        f"{m.server_cpu_s / n * 1e6:.2f}",
        f"{m.server_cpu_s / m.seconds:.0%}",
        *latencies,
        f"{m.down_bytes / n:.0f}",
        f"{m.up_bytes / n:.0f}",
        f"{m.epochs / m.seconds:.1f}",
        f"{n / max(1, m.epochs):,.0f}",
        f"{m.frames / m.seconds:,.0f}",
        f"{m.server_rss_mib:.0f}",
        f"{m.generator_cpu_s / m.seconds:.0%}",
        f"{m.others_cpu_s / m.seconds:.2f}",
    ]


def show_machine(machine: Mapping[str, str]) -> str:
    return "\n".join(f"{name + ':':14}{value}" for name, value in machine.items())


def show_all(results: Sequence[Result], verdicts: Sequence["Verdict"], failures: Sequence[str]) -> str:
    """Everything but the machine: what was measured, what of it was promised, and what went wrong."""
    parts = [show_results(results) if results else "", show_verdicts(verdicts) if verdicts else ""]
    return "\n" + "\n\n".join(filter(None, [*parts, *(f"FAILED: {failure}" for failure in failures)])) + "\n"


def show_results(results: Sequence[Result]) -> str:
    """The main table, what each load was, how it was verified, and what to keep in mind."""
    rows, loads, warnings = [], [], []
    for scenario, outcome in results:
        loads.append(f"{scenario.name}: {scenario.load}, {scenario.mailboxes:,} mailboxes connected.")
        loads.append(
            f"    {outcome.verified:,} deliveries verified by followers afterwards, {outcome.verified_live:,} of them "
            f"live too; {outcome.receipts_verified:,} of {outcome.receipts:,} receipts verified."
        )
        for measured in outcome.measured:
            name = scenario.name if measured.name == scenario.name else f"{scenario.name} {measured.name}"
            rows.append(_row(name, measured))
            warnings += _warnings(name, measured)
    return "\n\n".join(part for part in (table(_HEADER, rows), "\n".join(loads), COUNTED, "\n".join(warnings)) if part)


def _warnings(name: str, m: Measured) -> list[str]:
    warnings = []
    if m.generator_cpu_s > _GENERATOR_FULL * m.seconds:
        warnings.append(f"WARNING: {name}: the generator used its core up: the server may be able to do more.")
    if m.others_cpu_s > _OTHERS_LOUD * m.seconds:
        share = m.others_cpu_s / m.seconds
        warnings.append(f"WARNING: {name}: others used {share:.2f} cores of this machine meanwhile: expect worse.")
    return warnings


class Verdict(NamedTuple):
    """One promise and what became of it."""

    scenario: str
    text: str
    value: float
    limit: float
    unit: str
    is_least: bool
    is_met: bool


def judge(scenario: str, target: Target, measured: list[Measured]) -> Verdict:
    value = target.value(measured)
    return Verdict(scenario, target.text, value, target.limit, target.unit, target.is_least, target.is_met(value))


def show_verdicts(verdicts: Sequence[Verdict]) -> str:
    rows = [
        [
            f"{v.scenario}: {v.text}",
            f"{'>=' if v.is_least else '<='} {v.limit:,.0f} {v.unit}",
            f"{v.value:,.1f} {v.unit}",
            "ok" if v.is_met else "MISSED",
        ]
        for v in verdicts
    ]
    return table(("target", "wanted", "measured", ""), rows)
