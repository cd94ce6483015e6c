"""How many deltas a page verifies in a second: `python -m tests.browser.speed`. A measurement, not a test.

Knows nothing of how a page verifies. The rate depends on the machine, and on what else it does: beside it stand the
browser's bare Ed25519 in the same rounds, and the processor time of the page's thread, which other programs do not use.
"""

import argparse
import os
import statistics
from typing import Any, NamedTuple

import trio
from playwright.sync_api import CDPSession, Page, Route

from noise.protocol.sealing import BoxFor
from tests.browser.chromium import open_chromium
from tests.browser.files import serve_files
from tests.browser.stream import OTHERS, SENDERS, TEXT_BYTES, Stream, make_stream

PROMISED = 1_000
SIGNATURES = 3
"""That a delta of one message needs: the log's checkpoint, the outbox's head, the sender's bundle."""

ROUNDS = 3
MODULE = "/tests/browser/speed.js"


class Round(NamedTuple):
    """Deltas per second, then milliseconds per delta. `busy`: processor time; `signatures`: SIGNATURES bare checks."""

    verified: float
    stored: float
    verified_busy: float
    stored_busy: float
    mean: float
    p50: float
    p99: float
    signatures: float


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.browser.speed",
        description="How many deltas Chromium verifies in a second, each with one sealed message, one after the other.",
    )
    parser.add_argument("--deltas", type=int, default=2_000, metavar="N", help="in the stream, default %(default)s")
    n_deltas = parser.parse_args().deltas
    with open_chromium() as browser, serve_files() as files:
        page = browser.new_page()
        page.route("**/empty", lambda route: route.fulfill(content_type="text/html", body="<!doctype html>"))
        page.goto(f"{files.url}/empty")
        stream = stream_for(page, n_deltas)
        page.route("**/stream", lambda route: answer(route, stream))
        page.evaluate(f"async () => {{ window.stream = await (await import('{MODULE}')).loadStream('/stream'); }}")
        clock = page.context.new_cdp_session(page)
        clock.send("Performance.enable", {"timeDomain": "threadTicks"})
        rounds = [play(page, clock, n_deltas) for _ in range(1 + ROUNDS)][1:]  # the first one warms up
        print(f"Chromium {browser.version} on {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    report(stream, rounds)


def call(page: Page, function: str, argument: str = "") -> Any:
    """A function of MODULE, awaited in the page."""
    return page.evaluate(f"async () => (await import('{MODULE}')).{function}({argument})")


def stream_for(page: Page, n_deltas: int) -> Stream:
    """To a device that the page makes, sealed for its key."""
    made = {name: bytes.fromhex(text) for name, text in call(page, "makeDevice").items()}
    return trio.run(make_stream, made["deviceId"], BoxFor(made["prekeyId"], made["prekey"], b""), n_deltas)


def answer(route: Route, stream: Stream) -> None:
    frames = (len(frame).to_bytes(4, "big") + frame for frame in stream.frames)
    route.fulfill(content_type="application/octet-stream", body=stream.origin + b"".join(frames))


def busy_ms(clock: CDPSession) -> float:
    """Processor time that the page's thread has taken."""
    metrics = {metric["name"]: metric["value"] for metric in clock.send("Performance.getMetrics")["metrics"]}
    return 1000.0 * metrics["TaskDuration"]


def play(page: Page, clock: CDPSession, n_deltas: int) -> Round:
    busy = [busy_ms(clock)]
    followed = call(page, "timeFollower", "window.stream")
    busy.append(busy_ms(clock))
    whole = call(page, "timeClient", "window.stream")
    busy.append(busy_ms(clock))
    signatures_ms = call(page, "timeSignatures", str(SIGNATURES * n_deltas))
    if whole["count"] != n_deltas:
        raise RuntimeError(f"of {n_deltas} messages {whole['count']} were opened")
    times = sorted(followed["times"][1:])  # without the delta that brings the roster
    return Round(
        verified=1000 * (n_deltas + 1) / followed["tookMs"],
        stored=1000 * (n_deltas + 1) / whole["tookMs"],
        verified_busy=(busy[1] - busy[0]) / (n_deltas + 1),
        stored_busy=(busy[2] - busy[1]) / (n_deltas + 1),
        mean=followed["tookMs"] / (n_deltas + 1),
        p50=statistics.median(times),
        p99=times[len(times) * 99 // 100],
        signatures=signatures_ms / n_deltas,
    )


def report(stream: Stream, rounds: list[Round]) -> None:
    size = statistics.mean(map(len, stream.frames[1:]))
    print(
        f"{len(stream.frames) - 1} epochs, one sealed message of {TEXT_BYTES} bytes in each: deltas of {size:.0f} bytes"
    )
    print(f"from {SENDERS} senders in turn, with {OTHERS} other mailboxes; the medians of these rounds:")
    for each in rounds:
        print(f"  {each.verified:.0f} verified/s, {each.stored:.0f} stored/s, signatures {each.signatures:.2f} ms")
    middle = Round(*map(statistics.median, zip(*rounds, strict=True)))
    times = f"mean {middle.mean:.2f}, p50 {middle.p50:.1f}, p99 {middle.p99:.1f}, busy {middle.verified_busy:.2f}"
    share = 100 * middle.signatures / middle.mean
    print(f"verified: {middle.verified:.0f} deltas/s, promised {PROMISED} (parsed, checked by the follower, adopted)")
    print(f"  ms each: {times}")
    print(
        f"  {SIGNATURES} bare Ed25519 checks, one after the other: {middle.signatures:.2f}, {share:.0f} % of the mean"
    )
    print(f"stored: {middle.stored:.0f} deltas/s (verified, opened, kept for evidence, and durable in IndexedDB)")
    print(f"  ms each: busy {middle.stored_busy:.2f}; the next deltas are verified while those before are written")


if __name__ == "__main__":
    main()
