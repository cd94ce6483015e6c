"""What holds for every test: how long Hypothesis searches, and that nothing is skipped in silence.

Knows nothing of noise: it imports neither the server nor the SDK. The time limit of a single test is pytest's own
(faulthandler_timeout in pyproject.toml): it prints where every thread stands and ends the run.
"""

import os
from collections.abc import Generator, Iterable
from typing import Any

import hypothesis
import pytest

IS_CI = os.environ.get("CI") == "true"
LONG_FACTOR = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long",
        action="store_true",
        help=f"search {LONG_FACTOR} times longer (Hypothesis examples, seeds) and run the tests marked slow; "
        "`python -m tests --long` also raises the time limit of a single test",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Loads the Hypothesis profile, before any test module is imported.

    A test that pins its own max_examples inherits the rest; under --long its number is multiplied as well.
    """
    examples = 100
    hypothesis.settings.register_profile("default", deadline=None, max_examples=examples, derandomize=IS_CI)
    hypothesis.settings.register_profile("long", deadline=None, max_examples=examples, print_blob=True)
    hypothesis.settings.load_profile("long" if config.getoption("--long") else "default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        search_longer(items)
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        # Left out rather than skipped: a skip says that something is missing here.
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def search_longer(items: Iterable[pytest.Item]) -> None:
    """Multiplies the examples of every property test and state machine, whether pinned or from the profile."""
    multiplied: set[int] = set()
    for item in items:
        function = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
        if not getattr(function, "is_hypothesis_test", False):
            continue
        is_machine = hasattr(function, "_hypothesis_state_machine_class")
        holder, name = (item.cls, "settings") if is_machine else (function, "_hypothesis_internal_use_settings")
        if id(holder) not in multiplied:  # parametrized items share one function
            multiplied.add(id(holder))
            usual = getattr(holder, name)
            setattr(holder, name, hypothesis.settings(usual, max_examples=usual.max_examples * LONG_FACTOR))


@pytest.fixture(scope="session")
def search_factor(pytestconfig: pytest.Config) -> int:
    """How many times its usual number of seeds a search of our own should try: 1, and more under --long."""
    return LONG_FACTOR if pytestconfig.getoption("--long") else 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report


def refuse_skip(report: Any) -> None:
    """Turns a skip into a failure under CI=true, and anywhere if it gives no reason."""
    if not report.skipped:
        return
    path, line, message = report.longrepr
    reason = message.removeprefix("Skipped").lstrip(": ")
    if reason in {"", "unconditional skip"}:
        refusal = "skipped without a reason: say what is missing"
    elif IS_CI:
        refusal = f"skipped under CI=true, where everything must run: {reason}"
    else:
        return
    report.outcome = "failed"
    report.longrepr = f"{path}:{line}: {refusal}"
