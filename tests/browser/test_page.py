"""The page as people use it: `noise demo` in a process of its own, a real Chromium, and nothing known of how it works.

What a page's client does is tested in `test_client`, `test_gossip` and `test_convictions`.
"""

import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.proof import PROOF, NotProven, verify_proof
from noise.protocol.identifiers import format_id
from tests.browser.chromium import chromium_arguments, find_browser
from tests.demo.test_command import demo
from tests.e2e.provider_process import ROOT, provider, run_noise
from tests.javascript import install_packages
from tests.vectors import golden

WAIT_MS = 20_000
LIES = [
    "Drop one message",
    "Change a message",
    "Deliver in another order",
    "Show two histories",
    "Forget the last epochs",
]
MORE_LIES = ["Add a message", "Deliver a message twice", "Wipe a mailbox's past", "Sign an epoch twice"]
Scheme = Literal["light", "dark"]
PHONE = {"width": 360, "height": 780}
DESKTOP = {"width": 1280, "height": 900}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("demo")
    with demo("--data", str(data / "demo"), "--bind", "127.0.0.1:0") as (_, host):
        yield host


@pytest.fixture
def console(context: BrowserContext) -> Iterator[list[str]]:
    """What the browser complained of, such as a refused script or a failed load. If anything, the test fails."""
    complaints: list[str] = []
    context.on("console", lambda one: complaints.append(one.text) if one.type in {"error", "warning"} else None)
    yield complaints
    assert not complaints


def open_device(context: BrowserContext, url: str, number: int = 1) -> Page:
    """In one click, until everything is verified."""
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.emulate_media(reduced_motion="reduce")
    page.goto(url)
    page.get_by_role("button", name="Open a device").click()
    expect(pane(page, number).get_by_text("live", exact=True)).to_be_visible(timeout=WAIT_MS)
    return page


def pane(page: Page, number: int = 1) -> Any:
    return page.get_by_role("region", name=f"Device {number}", exact=True)


def say(page: Page, number: int, to: str, text: str) -> None:
    conversation = page.get_by_role("region", name=f"Conversation of Device {number}")
    for chosen in conversation.get_by_role("checkbox").all():
        chosen.uncheck(force=True)
    conversation.get_by_role("checkbox", name=to).check(force=True)
    conversation.get_by_label("Message", exact=True).fill(text)
    conversation.get_by_role("button", name="Send").click()


def make_it_lie(page: Page, title: str) -> None:
    page.get_by_role("radio", name=title).check()
    page.get_by_role("button", name="Make the server tell this lie").click()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, f"never {what}"
        time.sleep(0.05)


def exposed(page: Page) -> Any:
    conviction = page.get_by_role("region", name="This server lied, and it is proven.")
    expect(conviction).to_be_visible(timeout=WAIT_MS)
    expect(page.locator("body[data-verdict=exposed]")).to_have_count(1)
    return conviction


def verify_download(page: Page, directory: Path) -> str:
    """What the command that the page shows makes of the file that it offers."""
    conviction = exposed(page)
    expect(conviction.get_by_text("the proof names one")).to_be_visible(timeout=WAIT_MS)
    with page.expect_download() as download:
        conviction.get_by_role("button", name="Download the proof").click()
    command = shlex.split(conviction.locator("code", has_text="noise verify").inner_text())
    download.value.save_as(directory / download.value.suggested_filename)
    assert command[:2] == ["noise", "verify"]
    assert command[2] == download.value.suggested_filename
    run = run_noise("verify", str(directory / command[2]), *command[3:])
    assert run.returncode == 0, run.stderr
    return run.stdout


def violations(page: Page, scheme: Scheme) -> list[str]:
    """What axe finds wrong for keyboards, screen readers and eyes, in light or dark."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("new Promise((painted) => requestAnimationFrame(() => setTimeout(painted, 50)))")
    page.evaluate((install_packages() / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("(tags) => axe.run(document, { runOnly: tags })", RULES)["violations"]
    return [f"{one['id']}: {one['help']}: {one['nodes'][0]['html']}" for one in found]


def test_an_evening(host: str, context: BrowserContext, console: list[str], tmp_path: Path) -> None:
    """What a stranger does: talks to a bot, has a message dropped, and takes the proof to a terminal."""
    page = open_device(context, f"http://{host}/")
    say(page, 1, "alice", "is anybody there?")
    messages = page.get_by_role("region", name="Messages of Device 1")
    expect(messages.get_by_text("is anybody there?", exact=True)).to_be_visible(timeout=WAIT_MS)
    expect(messages.get_by_text("alice").nth(1)).to_be_visible(timeout=WAIT_MS)
    for width, height in (DESKTOP.values(), PHONE.values()):
        for scheme in get_args(Scheme):
            page.set_viewport_size({"width": width, "height": height})
            assert not violations(page, scheme), (scheme, width)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    make_it_lie(page, "Drop one message")
    output = verify_download(page, tmp_path)
    assert "CONVICTED" in output
    assert "StageOmission" in output
    assert "router-0-" in output
    for scheme in get_args(Scheme):
        assert not violations(page, scheme), scheme
    assert not console
    page.get_by_role("button", name="Start again with an honest server").click()
    expect(page.locator("body[data-verdict=exposed]")).to_have_count(0, timeout=WAIT_MS)
    console.clear()  # between the two servers there was none


@pytest.mark.parametrize("title", [*LIES[1:], *(pytest.param(one, marks=pytest.mark.slow) for one in MORE_LIES)])
def test_each_lie_becomes_a_file(title: str, context: BrowserContext, tmp_path: Path) -> None:
    with demo("--data", str(tmp_path / "demo"), "--bind", "127.0.0.1:0") as (_, host):
        page = open_device(context, f"http://{host}/")
        make_it_lie(page, title)
        assert "CONVICTED" in verify_download(page, tmp_path)


def test_nothing_jumps(tmp_path: Path, context: BrowserContext, console: list[str]) -> None:
    """While a hundred messages a second come, nothing on the page moves but what scrolls."""
    with demo("--data", str(tmp_path / "demo"), "--bind", "127.0.0.1:0", "--rate", "100") as (_, host):
        page = open_device(context, f"http://{host}/")
        until(lambda: count_of(page) > 20, "twenty verified deltas")
        page.evaluate(
            """() => {
                window.shifted = [];
                const whose = ({ node }) => node && (node.className || node.parentElement?.className || node.nodeName);
                const add = (list) => list.getEntries().forEach((one) => shifted.push(one.sources.map(whose).join()));
                new PerformanceObserver(add).observe({ type: "layout-shift", buffered: false });
            }"""
        )
        until(lambda: count_of(page) > 120, "a hundred more")
        assert page.evaluate("shifted") == []


def test_panes_and_tabs(host: str, context: BrowserContext, console: list[str]) -> None:
    page = open_device(context, f"http://{host}/")
    page.get_by_role("button", name="New device").click()
    expect(pane(page, 2).get_by_text("live", exact=True)).to_be_visible(timeout=WAIT_MS)
    say(page, 1, "Device 2", "from pane to pane")
    heard = [page.get_by_role("region", name=f"Messages of Device {number}") for number in (1, 2)]
    for messages in heard:
        expect(messages.get_by_text("from pane to pane", exact=True)).to_have_count(1, timeout=WAIT_MS)
    open_device(context, f"http://{host}/", 3)  # another tab takes a device of its own
    page.reload()
    for number, messages in enumerate(heard, 1):
        expect(pane(page, number).get_by_text("live", exact=True)).to_be_visible(timeout=WAIT_MS)
        expect(messages.get_by_text("from pane to pane", exact=True)).to_have_count(1, timeout=WAIT_MS)
    expect(page.locator("body[data-verdict=ok]")).to_have_count(1)


def count_of(page: Page) -> int:
    """Of how many deltas the first device says that it verified them."""
    text = pane(page).get_by_text(re.compile(r"^[\d,]+ verified$")).inner_text()
    return int(text.split()[0].replace(",", ""))


def proof_of(kind: str) -> tuple[bytes, str]:
    """A golden proof of this class, and the origin that it is about, as people see it."""
    vectors = golden.read("evidence_omissions.json")
    found = next(one for one in vectors["proofs"] if one["kind"] == kind)
    return bytes.fromhex(found["encoded"]), format_id(bytes.fromhex(vectors["origin"]))


def proves_nothing(data: bytes) -> bool:
    """Well-formed, and no proof."""
    try:
        verify_proof(data, [PROOF.decode(data).origin])
    except NoiseError as error:
        return isinstance(error, NotProven)
    return False


def test_a_file_is_judged(host: str, context: BrowserContext, console: list[str], tmp_path: Path) -> None:
    """A proof from Python, dropped on the page: without a device, and without asking anybody."""
    proof, origin = proof_of("Omission")
    (tmp_path / "lie.proof").write_bytes(proof)
    damaged = next(
        filter(proves_nothing, (proof[:i] + bytes([proof[i] ^ 1]) + proof[i + 1 :] for i in range(len(proof))))
    )
    (tmp_path / "damaged.proof").write_bytes(damaged)
    page = context.new_page()
    page.goto(f"http://{host}/")
    judge = page.get_by_role("region", name="Judge a file")
    judge.get_by_text("Paste text, or name another provider").click()
    judge.get_by_role("textbox", name="origin").fill(origin)
    for name, result in (("lie.proof", "convicted"), ("damaged.proof", "nothing")):
        judge.locator("input[type=file]").set_input_files(tmp_path / name)
        expect(judge.locator(f"xpath=self::*[@data-result='{result}']")).to_be_visible(timeout=WAIT_MS)


def test_a_page_on_a_provider_of_ones_own(tmp_path: Path, context: BrowserContext, console: list[str]) -> None:
    """`noise serve --demo` has the page, and no panel."""
    with provider(tmp_path / "provider", "--demo") as process:
        page = open_device(context, f"{process.url}/")
        expect(page.get_by_text("Make the server lie")).to_be_hidden()


def test_an_insecure_context_is_told(host: str, browser: Browser) -> None:
    """Over plain HTTP from another machine there are no keys, and the page says what to do."""
    arguments = [*chromium_arguments(), "--host-resolver-rules=MAP noise.example 127.0.0.1"]
    other = browser.browser_type.launch(executable_path=find_browser("chromium"), args=arguments)
    page = other.new_page()
    page.goto(f"http://noise.example:{host.rpartition(':')[2]}/")
    expect(page.get_by_role("alert").filter(has_text="not a secure context")).to_be_visible(timeout=WAIT_MS)
    other.close()


def test_nothing_comes_from_elsewhere(host: str, browser: Browser) -> None:
    """Neither scripts nor styles, fonts or pictures; and a script that somebody slips in does not run."""
    context = browser.new_context()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = open_device(context, f"http://{host}/")
    foreign = [url for url in asked if not url.startswith((f"http://{host}/", f"ws://{host}/", "data:", "blob:"))]
    assert not foreign
    refused = page.evaluate(
        """async () => {
            const blocked = new Promise((resolve) => addEventListener("securitypolicyviolation", resolve));
            document.body.append(Object.assign(document.createElement("img"), { src: "http://192.0.2.1/a.png" }));
            const { blockedURI } = await blocked;
            try { document.body.innerHTML = "<b>x</b>"; } catch (error) { return [blockedURI, error.name]; }
        }"""
    )
    assert refused == ["http://192.0.2.1/a.png", "TypeError"]
    context.close()


def test_the_license_is_served_with_the_vendored_code() -> None:
    assert (
        (ROOT / "clients" / "browser" / "vendor" / "noble-hashes" / "LICENSE").read_text("utf-8").startswith("The MIT")
    )
