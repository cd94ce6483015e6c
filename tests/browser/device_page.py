"""A page of the provider's own site that runs one client, without the demo page's looks.

Knows nothing of what the client says. The scripts are those that the provider serves, under its own policy for scripts.
"""

import time
from typing import Any

from playwright.sync_api import BrowserContext, Page

WAIT_S = 20
PAUSE_S = 0.02

OPEN = """async ([name, options]) => {
  const [{ openClient }, { createDevice }, bytes] = await Promise.all([
    import('/browser/io/client.js'), import('/browser/io/devices.js'), import('/browser/protocol/bytes.js'),
  ]);
  const { settings = {}, origin = null } = options;
  name ??= await createDevice();
  const client = await openClient(name, { url: location.origin, origin, settings });
  const events = [];
  client.subscribe((event) => events.push(event));
  const text = ({ data }) => new TextDecoder().decode(data);
  const send = async (to, ...texts) => {
    const sendings = texts.map((one) => client.send([bytes.fromHex(to)], bytes.utf8(one)));
    return (await Promise.all(sendings)).map(({ id }) => id);
  };
  const heard = () => events.filter(({ kind }) => kind === 'message').map(({ message }) => text(message));
  const texts = () => client.messages().map(text);
  Object.assign(window, { client, events, text, send, heard, texts, hex: bytes.toHex, deviceName: name });
  return name;
}"""


class DevicePage:
    """`name`: of the device. Scripts there have `client`, `events`, `texts()`, `heard()`, `send(to, ...)`, `hex`."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name

    def get(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    @property
    def device_id(self) -> bytes:
        return bytes.fromhex(self.get("hex(client.deviceId)"))

    def code_of(self, script: str, argument: Any = None) -> str | None:
        """The code of the error that a function throws."""
        return code_of(self.page, script, argument)

    def until(self, script: str) -> None:
        """Until it is true. The page's policy forbids what Playwright waits by."""
        deadline = time.monotonic() + WAIT_S
        while not self.get(script):
            if time.monotonic() > deadline:
                shown = (
                    "[client.state, `${client.failure}`, `${client.lastProblem}`, events.map(({kind}) => kind).join()]"
                )
                raise AssertionError(f"never {script}: {self.get(shown)}")
            time.sleep(PAUSE_S)

    def until_live(self) -> None:
        self.until("client.state === 'live'")

    def send(self, to: bytes, *texts: str) -> list[int]:
        """Until they are durable."""
        return self.get("([to, texts]) => send(to, ...texts)", [to.hex(), list(texts)])

    def reopened(self) -> "DevicePage":
        """The page is loaded again, and opens its device again."""
        self.page.reload()
        self.page.evaluate(OPEN, [self.name, {}])
        return self


def blank_page(context: BrowserContext, url: str) -> Page:
    """A page of the provider's origin that runs nothing by itself."""
    page = context.new_page()
    page.goto(f"{url}/demo/state")
    return page


def open_device(page: Page, name: str | None = None, **options: Any) -> DevicePage:
    """Open a device in a blank page; a new one without a name."""
    return DevicePage(page, page.evaluate(OPEN, [name, options]))


def code_of(page: Page, script: str, argument: Any = None) -> str | None:
    """The code of the error that a function throws; None: it throws none."""
    caught = f"async (argument) => {{ try {{ await ({script})(argument); }} catch (error) {{ return error.code; }} }}"
    code: str | None = page.evaluate(caught, argument)
    return code
