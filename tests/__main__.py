"""The test command: `python -m tests`.

    python -m tests                     everything: format, lint, types, then every suite
    python -m tests --only merkle       the gates, and the tests whose name contains "merkle"
    python -m tests --only web          the gates, and one room of tests/ (a file or a pytest node id will do as well)
    python -m tests --no-gates          the suites alone
    python -m tests --long              the same suites, searching much longer

Everything runs on all cores; with --only in one process, so that output and debuggers stay usable.
The gates are `ruff format --check`, `ruff check` and `mypy --strict`, and for the browser client `tsc --checkJs` and
`prettier --check`. Their settings, and those of pytest, are in pyproject.toml and clients/browser; tests are linted but
not strictly typed. A failing gate does not stop what comes after it.
The last line is `N passed, N failed, N skipped`, where each gate counts as one, and the exit status is 0 only if
nothing failed. With CI=true in the environment a skipped test is a failure, and Hypothesis draws the same examples
every time. `.ci/run` does all of this in a fresh virtualenv.

Works from any directory, in an environment made by `pip install -e '.[dev]'`.
Knows nothing of what a test does: it starts processes and counts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent

GATES = {
    "ruff format --check": ["ruff", "format", "--check", "."],
    "ruff check": ["ruff", "check", "."],
    "mypy --strict": ["mypy"],
    "tsc --checkJs": ["tests.javascript", "tsc"],
    "prettier --check": ["tests.javascript", "prettier"],
}

LONG_TEST_SECONDS_MAX = 3600  # the usual limit, for one test, is faulthandler_timeout in pyproject.toml


class Tally(NamedTuple):
    """What one step, or all of them, came to."""

    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run_module(title: str, arguments: list[str]) -> int:
    """Runs `python -m ...` in the project's root under a headline; its exit status."""
    print(f"\n=== {title}", flush=True)
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=False).returncode


def run_gate(title: str) -> Tally:
    failed = int(run_module(title, GATES[title]) != 0)
    return Tally(1 - failed, failed, 0)


def choose_tests(word: str) -> list[str]:
    """Pytest's arguments for `--only`: a path or node id in tests/, seen from here, the root or tests/; else `-k`."""
    path, separator, rest = word.partition("::")
    for base in (Path.cwd(), ROOT, TESTS):
        candidate = (base / path).resolve()
        if candidate.exists() and candidate.is_relative_to(TESTS):
            return [f"{candidate}{separator}{rest}"]
    return [str(TESTS), "-k", word]


def run_pytest(only: str | None, *, is_long: bool) -> Tally:
    arguments = choose_tests(only) if only else [str(TESTS), "-n", "auto", "--dist", "worksteal"]
    if is_long:
        arguments += ["--long", "-o", f"faulthandler_timeout={LONG_TEST_SECONDS_MAX}"]
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        status = run_module(
            "pytest", ["pytest", "--continue-on-collection-errors", f"--junit-xml={report}", *arguments]
        )
        tally = read_report(report)
    if status != 0 and tally.failed == 0:
        # A crash, a test over its time limit (which ends the run), a wrong argument, or no test that matches.
        print(f"pytest ended with status {status} and named no failed test: see above")
        return tally._replace(failed=1)
    return tally


def read_report(report: Path) -> Tally:
    """Counts the tests in pytest's JUnit report; all zero if pytest was killed before it could write one."""
    if not report.exists():
        return Tally(0, 0, 0)
    failed = skipped = tests = 0
    for suite in ElementTree.parse(report).iter("testsuite"):
        tests += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return Tally(tests - failed - skipped, failed, skipped)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests",
        description="Checks the project: format, lint and types (the gates), then every test.",
        epilog="""\
examples:
  python -m tests                          all there is, a minute or so
  python -m tests --only protocol          the gates and one room, tests/protocol
  python -m tests --no-gates --only fork   only the tests whose name contains "fork", quick while you work
  python -m tests --long --only simulation look for rare faults for a long time, before a release

The last line of the output is "N passed, N failed, N skipped"; each gate counts as one.
With CI=true in the environment a skipped test counts as failed.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        metavar="WORD",
        help="run the tests of this path or pytest node id ('protocol', 'tests/test_tidy.py'), or, if tests/ has no "
        "such path, those whose name matches WORD as pytest's -k does ('merkle', 'sqlite and not crash')",
    )
    parser.add_argument(
        "--long",
        action="store_true",
        help="search longer: many more Hypothesis examples and seeds for every test, and the tests marked slow",
    )
    parser.add_argument("--no-gates", action="store_true", help="leave out format, lint and types")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    results: list[tuple[str, Tally, float]] = []

    for title in () if arguments.no_gates else GATES:
        start = time.monotonic()
        results.append((title, run_gate(title), time.monotonic() - start))
    start = time.monotonic()
    results.append(("pytest", run_pytest(arguments.only, is_long=arguments.long), time.monotonic() - start))

    total = Tally(*(sum(column) for column in zip(*(tally for _, tally, _ in results), strict=True)))
    print("\n=== summary" + (" (CI: a skip is a failure)" if os.environ.get("CI") == "true" else ""))
    for title, tally, seconds in results:
        print(f"{'FAILED' if tally.failed else 'ok':7}{title:22}{seconds:7.1f} s   {tally}")
    print(total, flush=True)
    return int(total.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
