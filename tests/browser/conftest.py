"""One Chromium for the tests of a module, and pages that fail their test when the browser complains."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.chromium import open_chromium
from tests.browser.files import FileServer, serve_files


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium() as opened:
        yield opened


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new browser profile. An exception that no script catches fails the test."""
    opened = browser.new_context()
    errors: list[str] = []
    opened.on("weberror", lambda error: errors.append(str(error.error)))
    opened.set_default_timeout(20_000)
    yield opened
    opened.close()
    assert not errors, errors


@pytest.fixture(scope="module")
def files() -> Iterator[FileServer]:
    """This checkout's files over HTTP, for pages that need no provider."""
    with serve_files() as served:
        yield served
