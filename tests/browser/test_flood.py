"""What a peer can do to the page by messages alone: however many come, and however tall, the page stays small.

Knows nothing of providers: the pane's client says what a test has it say.
"""

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.files import FileServer

CHIPS_MAX = 40
ITEMS_MAX = 260
ITEMS_WHILE_READING_MAX = 1060
TALL_PX = 350
DELTAS_BYTES_MAX = 8 << 20

OPEN = """async () => {
  const flooded = await import('/tests/browser/flooded_pane.js');
  const { pane, names } = await flooded.open();
  const hear = (n, text, options) => {
    pane.onEvent({ kind: 'message', message: flooded.messageOf(n, text, options) });
  };
  Object.assign(window, flooded, { pane, names, hear });
}"""


@pytest.fixture
def page(context: BrowserContext, files: FileServer) -> Page:
    opened = context.new_page()
    opened.goto(f"{files.url}/vectors")
    opened.evaluate(OPEN)
    return opened


def run(page: Page, script: str) -> Any:
    return page.evaluate(f"async () => {{ {script} }}")


def test_a_thousand_senders(page: Page) -> None:
    """The newest have chips; whoever was chosen keeps one, and is still chosen."""
    run(page, "hear(1, 'hello'); await painted(400)")
    page.locator(".chip input").nth(1).check(force=True)
    page.mouse.move(0, 0)
    page.locator("textarea").focus()
    before = run(page, "return pane.conversation.recipients.chosen()")
    assert len(before) == 2
    run(page, "for (let n = 2; n <= 1000; n++) hear(n, 'hello'); await painted(400)")
    ids = page.locator(".chip input").evaluate_all("(inputs) => inputs.map(({ value }) => value)")
    assert len(ids) <= CHIPS_MAX
    assert set(before) < set(ids)
    assert run(page, "return pane.conversation.recipients.chosen()") == before
    assert run(page, "return names.known.size") <= CHIPS_MAX
    newest = run(page, "return [...names.known.keys()].at(-1)")
    assert newest == ids[1]


@pytest.mark.parametrize("hold", ["focus", "hover"])
def test_a_chip_in_use_stays(page: Page, hold: str) -> None:
    """Who is about to choose somebody does not choose a stranger who writes at that moment."""
    chip = page.locator(".chip input").first
    chip.focus() if hold == "focus" else chip.hover(force=True)
    held = chip.element_handle()
    run(page, "for (let n = 1; n <= 50; n++) hear(n, 'hello'); await painted(400)")
    assert page.evaluate("(chip) => chip.isConnected", held)
    assert page.locator(".chip").count() == 1
    if hold == "focus":
        assert page.evaluate("(chip) => chip === document.activeElement", held)
        page.locator("textarea").focus()
    else:
        page.mouse.move(0, 0)
    run(page, "await painted(400)")
    assert page.locator(".chip").count() > 1


@pytest.mark.parametrize("text", ["'x\\n'.repeat(2000)", "'\\n'.repeat(2000) + 'x'", "'x'.repeat(4000)"])
def test_tall_messages(page: Page, text: str) -> None:
    """Each has a place of its own to scroll in, which a keyboard reaches; the oldest go."""
    run(page, f"for (let n = 1; n <= 1500; n++) hear(n, {text}, {{ sender: idOf(1) }}); await painted(400)")
    items = page.locator(".messages > li")
    assert 0 < items.count() <= ITEMS_MAX
    heights = items.evaluate_all("(items) => items.map(({ offsetHeight }) => offsetHeight)")
    assert max(heights) <= TALL_PX
    assert page.locator(".message-text:not([tabindex])").count() == 0
    last = page.get_by_role("group", name="Long message").last
    assert last.evaluate("(text) => text.scrollHeight > text.clientHeight")
    assert run(page, "return pane.conversation.isAtEnd()")


def test_short_messages_are_no_stops(page: Page) -> None:
    """The keyboard stops only at what scrolls, which depends on the width."""
    page.set_viewport_size({"width": 1280, "height": 900})
    run(page, "hear(1, 'hello'); hear(2, 'word '.repeat(60)); await painted(200)")
    assert page.locator(".message-text[tabindex]").count() == 0
    page.set_viewport_size({"width": 320, "height": 900})
    run(page, "await painted(200)")
    assert page.locator(".message-text[tabindex]").count() == 1


def test_who_reads_further_up(page: Page) -> None:
    """Keeps the place for a while, and not for ever."""
    run(
        page,
        """
        for (let n = 1; n <= 6000; n++) {
          hear(n, 'hello', { sender: idOf(1) });
          if (n % 200 == 0) await painted(110);
          pane.conversation.region.scrollTop = 50;
          window.most = Math.max(window.most ?? 0, pane.conversation.list.children.length);
        }
        """,
    )
    assert ITEMS_MAX < run(page, "return most") <= ITEMS_WHILE_READING_MAX


def test_details_of_checks_are_bounded(page: Page) -> None:
    """A delta of catching up has a megabyte: the newest few are kept, and the rest is said to be gone."""
    run(
        page,
        """
        for (let n = 1; n <= 200; n++) {
          pane.onEvent({ kind: 'delta', seen: deltaOf([messageOf(n, 'hello')], 1 << 20) });
          hear(n, 'hello', { sender: idOf(1) });
        }
        await painted(200);
        """,
    )
    for part in ("conversation.checked", "checks.recent"):
        kept = run(page, f"return pane.{part}.all.map(({{ nBytes }}) => nBytes)")
        assert 0 < sum(kept) <= DELTAS_BYTES_MAX
    page.locator(".tick").first.click()
    assert "are gone" in page.locator(".message-details").first.inner_text()


def test_a_stream_of_messages_is_announced(page: Page) -> None:
    """Once a second at most, and what is more important than a message is not lost among them."""
    said = run(
        page,
        """
        const { announce } = await import('/clients/browser/ui/announcing.js');
        const said = [];
        const polite = document.getElementById('polite');
        new MutationObserver(() => said.push(polite.textContent)).observe(polite, { childList: true });
        for (let n = 1; n <= 75; n++) {
          hear(n, 'word '.repeat(100), { sender: idOf(1) });
          if (n === 5) announce('Copied');
          await painted(30);
        }
        return said;
        """,
    )
    assert said[0] == "Copied"
    assert 2 <= len(said) <= 6
    assert all(len(text) < 200 for text in said)
