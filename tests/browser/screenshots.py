"""Takes the pictures of the page that the documents show: `python -m tests.browser.screenshots`.

At desktop and phone width, light and dark, calm and when the server was caught. Look at them before you commit them.
"""

import tempfile

from playwright.sync_api import Page

from tests.browser.chromium import open_chromium
from tests.browser.test_page import DESKTOP, PHONE, exposed, make_it_lie, open_device, say
from tests.demo.test_command import demo
from tests.javascript import ROOT

IMAGES = ROOT / "docs" / "images"
SETTLED_MS = 1_500


def take(page: Page, state: str) -> None:
    for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
        for scheme in ("light", "dark"):
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(SETTLED_MS)
            page.screenshot(path=IMAGES / f"{state}-{name}-{scheme}.png")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    data = tempfile.mkdtemp()
    with open_chromium() as browser, demo("--data", data, "--bind", "127.0.0.1:8080", "--rate", "1") as (_, host):
        page = open_device(browser.new_context(), f"http://{host}/")
        say(page, 1, "alice", "is anybody there?")
        page.wait_for_timeout(10 * SETTLED_MS)
        take(page, "calm")
        make_it_lie(page, "Drop one message")
        exposed(page).get_by_text("the proof names one").wait_for()
        take(page, "convicted")


if __name__ == "__main__":
    main()
