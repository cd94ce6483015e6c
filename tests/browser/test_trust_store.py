"""The browser's trust store in a real Chromium: its contract, and what only a browser can do to it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.files import FileServer

CONTRACT = Path(__file__).with_name("store_contract.js")
CHECKS = re.findall(r"^  async (\w+)\(t\) \{$", CONTRACT.read_text("utf-8").partition("class Judge")[0], re.M)
IMPORT = "import('/tests/browser/store_contract.js')"


@pytest.fixture
def page(context: BrowserContext, files: FileServer) -> Page:
    return blank_page(context, files)


def blank_page(context: BrowserContext, files: FileServer) -> Page:
    page = context.new_page()
    page.goto(f"{files.url}/vectors")
    return page


@pytest.fixture(scope="module")
def contract_page(browser: Browser, files: FileServer) -> Iterator[Page]:
    """One for all: each check makes devices of its own."""
    context = browser.new_context()
    yield blank_page(context, files)
    context.close()


@pytest.mark.parametrize("name", CHECKS)
def test_contract(contract_page: Page, name: str) -> None:
    contract_page.evaluate(f"(name) => {IMPORT}.then(({{ run }}) => run(name))", name)


def test_the_whole_contract_was_found() -> None:
    assert len(CHECKS) >= 15


def begin(page: Page, name: str) -> None:
    page.evaluate(f"(name) => {IMPORT}.then(({{ begin }}) => begin(name))", name)


def count(page: Page, name: str) -> int:
    return page.evaluate(f"(name) => {IMPORT}.then(({{ count }}) => count(name))", name)


FULL_DISK = """() => {
  IDBTransaction.prototype.commit = function () {
    Object.defineProperty(this, "error", { value: new DOMException("", "QuotaExceededError") });
    this.abort();
  };
}"""
"""As a browser does it; Chromium's own switch for a smaller quota does nothing to IndexedDB."""


def test_without_room_nothing_is_stored_any_more(page: Page) -> None:
    begin(page, "crowded")
    page.evaluate(FULL_DISK)
    assert page.evaluate("storeMore(1, 5)") == "quota-exceeded"
    assert page.evaluate("storeMore(2, 5)") == "quota-exceeded"  # what is in memory is ahead of what is durable
    page.reload()
    assert count(page, "crowded") == 1


def test_a_page_that_ends_keeps_what_was_stored(context: BrowserContext, page: Page, files: FileServer) -> None:
    begin(page, "ended")
    assert page.evaluate("storeMore(1, 5)") is None
    page.evaluate("void storeMore(2, 1 << 20)")  # on its way: all of it, or nothing
    page.close(run_before_unload=False)
    assert count(blank_page(context, files), "ended") in {2, 3}


def test_deleted_site_data_ends_the_store(context: BrowserContext, page: Page, files: FileServer) -> None:
    begin(page, "wiped")
    storage = {"origin": files.url, "storageTypes": "indexeddb"}
    context.new_cdp_session(page).send("Storage.clearDataForOrigin", storage)
    assert page.evaluate("storeMore(1, 5)") in {"store-closed", "store-failed"}


def test_keys_need_a_secure_context(context: BrowserContext, files: FileServer) -> None:
    page = context.new_page()
    page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
    page.goto(f"{files.url}/vectors")
    make = "import('/clients/browser/io/devices.js').then((io) => io.createDevice()).catch(({ code }) => code)"
    assert page.evaluate(make) == "insecure-context"
