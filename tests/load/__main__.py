"""The load test: `python -m tests.load`. It is not part of the tests.

Starts a real server process on a real disk and a separate generator process, makes load, counts deliveries at their
recipients, verifies every one of them, and prints what it measured beside what is promised.

Knows nothing of sockets or protocols: it starts processes, and adds up what they report.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.load import machine, report
from tests.load.forked import note
from tests.load.plan import Outcome, Plan, encode_outcome, encode_plan, parse_outcome
from tests.load.population import CIPHERTEXT_BYTES
from tests.load.scenarios import PUSH_ALONE, PUSH_ALONE_LIMIT_US, SCENARIOS, SHEETS_LIMIT_PERCENT, Options, Scenario
from tests.load.server import ROOT, Server, ServerFailed, environment, running_server

_PUSHED = 500
_PUSHED_FRAME_BYTES = 1500
_PUSH_ROUNDS = 200

_EPILOG = """\
scenarios:
  throughput    closed loop: how many deliveries/s, attested and durable, come out of one server process
  paced         open loop at 10,000 deliveries/s: latency, and the share of a core that it takes
  push          one message to 500 recipients in every epoch: what a frame costs, all stages together
  push-alone    what a frame costs from the call to the kernel, in a process that does nothing else
  mailboxes     the same load with 1,000 and with 100,000 mailboxes in existence, in one run

examples:
  python -m tests.load                                    everything, two to three minutes
  python -m tests.load --scenario throughput --seconds 20
  python -m tests.load --scenario paced --bundle 4 --json paced.json
  python -m tests.load --quick                            does it work at all? the numbers mean nothing

While a scenario runs, its server's process id is on stderr: attach a profiler to it.

The exit status is 1 if a message was lost, doubled, reordered or not attested, or if anything failed, else 0: a missed
target is printed, but whether it matters depends on the machine, and on what else it was doing."""


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def parse_arguments() -> argparse.Namespace:
    names = [*SCENARIOS, PUSH_ALONE]
    parser = argparse.ArgumentParser(
        prog="python -m tests.load",
        description=(__doc__ or "").strip(),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--scenario", nargs="+", choices=names, default=names, metavar="NAME", help="which; default: all")
    add("--seconds", type=float, default=8.0, metavar="S", help="measured time of each load, default %(default)s")
    add("--warm-up", type=float, default=2.0, metavar="S", help="not measured, before that, default %(default)s")
    add("--mailboxes", type=_count, default=1000, metavar="N", help="connected and active, default %(default)s")
    add(
        "--existing", type=_count, default=100_000, metavar="N", help="mailboxes in all, in `mailboxes`; default 100000"
    )
    add("--bundle", type=_count, default=64, metavar="N", help="messages in a bundle, default %(default)s")
    add("--window", type=_count, default=2, metavar="N", help="bundles in flight per mailbox, default %(default)s")
    add("--payload", type=_count, default=200, metavar="BYTES", help="of each message, default %(default)s")
    add("--sealed", action="store_true", help="give each recipient a ciphertext of 120 bytes of its own as well")
    add("--ack-s", type=float, default=5.0, metavar="S", help="each client acknowledges so often; 0: never; default 5")
    add("--sample", type=_count, default=50, metavar="N", help="verify one mailbox in N live; default %(default)s")
    add("--epoch-ms", type=int, default=20, metavar="MS", help="the server's shortest epoch, default %(default)s")
    add("--data", type=Path, default=Path(), metavar="DIR", help="where the server's directory goes; default: here")
    add("--sheets", action="store_true", help="measure what sheets and custody cost the server, too")
    add("--quick", action="store_true", help="one second each, few mailboxes: only to see that it works")
    add("--json", type=Path, metavar="FILE", help="write everything there as well")
    arguments = parser.parse_args()
    if arguments.existing <= arguments.mailboxes + 1:
        parser.error("--existing has to be more than --mailboxes")
    return arguments


def options_from(a: argparse.Namespace) -> Options:
    options = Options(
        a.mailboxes,
        a.seconds,
        a.warm_up,
        a.bundle,
        a.window,
        a.payload,
        a.sealed,
        a.ack_s,
        a.sample,
        a.epoch_ms,
        a.existing,
        _PUSHED,
    )
    if a.quick:
        return options._replace(mailboxes=100, seconds=1.0, warm_up_s=0.5, existing=3000, pushed=50)
    return options


def describe_load(o: Options) -> dict[str, str]:
    """What holds for every scenario."""
    sealed = f" and {CIPHERTEXT_BYTES} bytes for each recipient" if o.is_sealed else ""
    acks = f"acknowledges every {o.ack_s:g} s" if o.ack_s else "never acknowledges"
    return {
        "server": f"one process, SQLite at synchronous=FULL, epochs of {o.epoch_ms} ms at the shortest",
        "messages": f"{o.payload_bytes} bytes{sealed}; each client {acks}",
        "time": f"{o.seconds:g} s measured after {o.warm_up_s:g} s that are not, then everything drained and verified",
    }


def make_plan(scenario: Scenario, options: Options, server: Server) -> Plan:
    return Plan(
        server.url,
        server.origin,
        server.pid,
        scenario.mailboxes,
        scenario.group_size,
        scenario.senders_per_group,
        options.payload_bytes,
        options.is_sealed,
        options.ack_s,
        options.sample,
        scenario.phases,
    )


def run_module(name: str, arguments: list[str], given: str) -> str:
    """What `python -m name` printed. Raises ServerFailed."""
    command = [sys.executable, "-m", name, *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(), input=given, stdout=subprocess.PIPE, text=True, check=False
    )
    if ended.returncode:
        raise ServerFailed(f"{name} failed: see above")
    return ended.stdout


def run_scenario(scenario: Scenario, options: Options, data: Path, sheets_report: Path | None) -> Outcome:
    with running_server(data, options.epoch_ms, sheets_report) as server:
        note(f"{scenario.name}: server process {server.pid} at {server.url}")
        plan = make_plan(scenario, options, server)
        return parse_outcome(run_module("tests.load.generator", [], encode_plan(plan)))


def show_sheets(scenario: Scenario, sheets_report: Path) -> report.Verdict:
    """What sheets and custody cost a server, of all its life."""
    spent = json.loads(sheets_report.read_text("utf-8"))
    sheets_report.unlink()
    process_s, sheets_s = spent["process_s"], spent["sheets_s"]
    shares = ", ".join(f"{name} {s / process_s:.1%}" for name, s in sorted(sheets_s.items(), key=lambda one: -one[1]))
    print(f"{scenario.name}: of {process_s:.1f} s of the server's processor time: {shares}")
    share = sum(sheets_s.values()) / process_s * 100
    text = "sheets and custody, of the server's processor time"
    return report.Verdict(scenario.name, text, share, SHEETS_LIMIT_PERCENT, "%", False, share <= SHEETS_LIMIT_PERCENT)


def run_push_alone(options: Options) -> report.Verdict:
    note(f"{PUSH_ALONE} ...")
    arguments = [str(options.pushed), str(_PUSHED_FRAME_BYTES), str(_PUSH_ROUNDS)]
    mean_us = json.loads(run_module("tests.load.push_alone", arguments, ""))["mean_us"]
    text = f"a frame of {_PUSHED_FRAME_BYTES:,} bytes to one of {options.pushed} connections, processor time"
    return report.Verdict(PUSH_ALONE, text, mean_us, PUSH_ALONE_LIMIT_US, "us", False, mean_us <= PUSH_ALONE_LIMIT_US)


def main() -> int:
    arguments = parse_arguments()
    options = options_from(arguments)
    data = arguments.data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    described = machine.describe(data) | describe_load(options)
    print(report.show_machine(described), flush=True)
    if machine.filesystem_of(data) == "tmpfs":
        print("WARNING: tmpfs is memory: nothing is durable there. Choose a disk with --data.")
    results: list[report.Result] = []
    verdicts: list[report.Verdict] = []
    failures: list[str] = []
    sheets_report = data / "sheets.json" if arguments.sheets else None
    for name in dict.fromkeys(arguments.scenario):
        try:
            if name == PUSH_ALONE:
                verdicts.append(run_push_alone(options))
                continue
            scenario = SCENARIOS[name](options)
            outcome = run_scenario(scenario, options, data, sheets_report)
            if sheets_report:
                verdicts.append(show_sheets(scenario, sheets_report))
        except ServerFailed as failure:
            failures.append(f"{name}: {failure}")
            continue
        failures += [f"{name}: {complaint}" for complaint in outcome.complaints]
        results.append(report.Result(scenario, outcome))
        if not outcome.complaints:
            verdicts += [report.judge(name, target, outcome.measured) for target in scenario.targets]
    print(report.show_all(results, verdicts, failures))
    if arguments.quick:
        print("--quick: far too short and too small for any of these numbers to mean much.")
    if arguments.json:
        arguments.json.write_text(encode_json(described, results, verdicts, failures), "utf-8")
    missed = sum(not verdict.is_met for verdict in verdicts)
    print(f"{len(failures)} failures, {missed} targets missed, {time.monotonic() - started:.0f} s")
    return int(bool(failures))


def encode_json(
    described: dict[str, str], results: list[report.Result], verdicts: list[report.Verdict], failures: list[str]
) -> str:
    return json.dumps(
        {
            "machine": described,
            "scenarios": {
                r.scenario.name: {"load": r.scenario.load} | json.loads(encode_outcome(r.outcome)) for r in results
            },
            "targets": [verdict._asdict() for verdict in verdicts],
            "failures": failures,
        },
        indent=1,
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends us, the server is stopped first
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
