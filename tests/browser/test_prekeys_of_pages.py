"""A page keeps the provider supplied with keys that others seal for, also when its clock was wrong.

Knows nothing of what is sealed.
"""

from pathlib import Path

from playwright.sync_api import BrowserContext

from tests.browser.device_page import blank_page, open_device
from tests.e2e.provider_process import provider

WRONG_CLOCK = "if (!localStorage.isRight) { const now = Date.now; Date.now = () => now() + 3 * 86_400_000; }"

HELD = """async () => {
  const [{ ProviderHttp }, { parseUrl }] = await Promise.all([
    import('/browser/io/provider_http.js'), import('/browser/io/link.js'),
  ]);
  const count = await new ProviderHttp(parseUrl(location.origin), 10).prekeyCount(client.deviceId);
  return [count.one_time, count.fallback_not_after_ms > 0n];
}"""


def test_a_clock_that_was_ahead(context: BrowserContext, tmp_path: Path) -> None:
    with provider(tmp_path / "data", "--demo") as served:
        page = blank_page(context, served.url)
        page.add_init_script(WRONG_CLOCK)
        page.reload()
        with page.expect_response("**/self/prekeys") as refused:
            device = open_device(page)
        assert refused.value.status == 422
        assert device.get(HELD) == [0, False]
        page.evaluate("localStorage.isRight = true")
        device.reopened().until(f"({HELD})().then(([oneTime, hasFallback]) => oneTime === 64 && hasFallback)")
