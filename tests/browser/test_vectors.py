"""The browser client's protocol makes of every golden vector what Python made of it: in Node, Chromium and Firefox."""

import json
import subprocess
from typing import Any

import pytest

from tests.browser.chromium import run_browser
from tests.browser.files import VECTORS, serve_files
from tests.javascript import ROOT, node

SCRIPTS = ROOT / "tests" / "browser" / "vectors"
TIMEOUT_S = 90


def check_results(results: list[dict[str, Any]]) -> None:
    assert [result["name"] for result in results] == VECTORS
    failures = [failure for result in results for failure in result["failures"]]
    assert not failures, "\n".join(failures[:20])
    assert sum(result["count"] for result in results) > 2_000


def test_node() -> None:
    run = subprocess.run([node(), SCRIPTS / "node.js"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    check_results([json.loads(line) for line in run.stdout.splitlines()])
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("browser", ["chromium", "firefox-esr"])
def test_browser(browser: str) -> None:
    with serve_files() as files, run_browser(browser, f"{files.url}/tests/browser/vectors/page.html"):
        posted = files.results.get(timeout=TIMEOUT_S)
    assert {"chromium": "Chrome/", "firefox-esr": "Firefox/"}[browser] in posted["agent"]
    check_results(posted["results"])
