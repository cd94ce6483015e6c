"""Real browsers, as Debian packages them: Chromium by Playwright, and either of them by its command line.

Knows nothing of pages. Playwright's own downloads are not used.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


def find_browser(*names: str) -> str:
    """The path of the first of these commands; without any, the test is skipped (which CI counts as a failure)."""
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"needs a browser: apt-get install {names[0]}")
    return path


def chromium_arguments() -> list[str]:
    """Root, as in most containers, gets no sandbox from Chromium."""
    return [*QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """One for several tests: each makes its own context, which is a profile of its own."""
    path = find_browser("chromium")
    with sync_playwright() as playwright:
        browser = launch(playwright, path)
        try:
            yield browser
        finally:
            browser.close()


def launch(playwright: Playwright, path: str) -> Browser:
    return playwright.chromium.launch(executable_path=path, args=chromium_arguments())


@contextmanager
def run_browser(name: str, url: str) -> Iterator[None]:
    """A headless browser, "chromium" or "firefox-esr", with a new profile, at a page, without any driver."""
    path = find_browser(name)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        if name == "chromium":
            command = [path, "--headless=new", *chromium_arguments(), f"--user-data-dir={profile}", url]
        else:
            Path(profile, "user.js").write_text('user_pref("browser.shell.checkDefaultBrowser", false);\n')
            command = [path, "--headless", "--no-remote", "--profile", profile, url]
        environment = {**os.environ, "HOME": profile, "MOZ_DISABLE_CONTENT_SANDBOX": "1"}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)
