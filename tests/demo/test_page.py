"""The page over real sockets: its files and nothing else, with what keeps other pages out on every response.

Knows nothing of what the files say.
"""

import hashlib
import json
import os
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from noise.config import ServeOptions
from noise.demo import assets
from noise.demo.assets import find_folder, load_assets
from noise.demo.counts import Counts
from noise.demo.page import HEADERS, PageFace
from noise.demo.plain import make_plain_page
from noise.node import create_node, open_node
from noise.protocol.errors import NoiseError
from noise.web.app import create_app
from tests.demo.guests import FILES, write_files
from tests.provider import Device, running_provider
from tests.web.face import problem_code, request_bytes
from tests.web.live_http import Answer, Live, read_answer, serving

ROOT = Path(__file__).parents[2]
SERVED = {"index.html", "protocol/bytes.js", "protocol/evidence/proof.js", "ui/style.css", "ui/mark.svg"}
DIRECTIVES = {
    *(
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
    ),
    *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"),
    "trusted-types 'none'",
}


@asynccontextmanager
async def open_page(data: Path, folder: Path) -> AsyncIterator[Live]:
    face = PageFace(load_assets(folder), lambda: {"origin": "x"})
    async with running_provider(data) as provider, serving(create_app(provider.gateway, more=[face])) as live:
        yield live


async def get(live: Live, target: str, **headers: str) -> Answer:
    return await live.ask(
        request_bytes("GET", target, {name.replace("_", "-"): text for name, text in headers.items()})
    )


def check_headers(answer: Answer) -> None:
    for name, text in HEADERS.items():
        assert answer.headers[name.lower().encode()] == text.encode(), (name, answer)


def test_only_what_a_page_loads_is_read(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "files")
    (folder / "ui" / "link.js").symlink_to(folder / "other" / "secret.js")
    (folder / "ui" / "folder.js").mkdir()
    found = load_assets(folder)
    assert found.keys() == SERVED
    for name, asset in found.items():
        assert asset.data == FILES[name].encode()
        assert asset.tag == hashlib.sha256(asset.data).hexdigest()[:32]


def test_missing_files_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "_BESIDE", tmp_path / "nowhere")
    folder = write_files(tmp_path / "files")
    monkeypatch.setattr(assets, "_IN_CHECKOUT", folder)
    assert find_folder() == folder
    monkeypatch.setattr(assets, "_BESIDE", write_files(tmp_path / "wheel"))
    assert find_folder() == tmp_path / "wheel"
    monkeypatch.setattr(assets, "_BESIDE", tmp_path / "nowhere")
    (folder / "index.html").unlink()
    for call in (find_folder, lambda: load_assets(folder)):
        with pytest.raises(NoiseError, match=r"whole checkout|whole wheel") as caught:
            call()
        assert caught.value.code == "page-missing"


def test_policy_is_the_strict_one() -> None:
    assert set(HEADERS["Content-Security-Policy"].split("; ")) == DIRECTIVES


async def test_files_as_they_are(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "files")
    with trio.fail_after(20):
        async with open_page(tmp_path / "provider", folder) as live:
            kinds = {"html": b"text/html; charset=utf-8", "js": b"text/javascript; charset=utf-8"}
            kinds |= {"css": b"text/css; charset=utf-8", "svg": b"image/svg+xml"}
            for name in sorted(SERVED):
                target = "/" if name == "index.html" else f"/browser/{name}"
                answer = await get(live, target)
                assert (answer.status, answer.body) == (200, FILES[name].encode())
                assert answer.headers[b"content-type"] == kinds[name.rpartition(".")[2]]
                assert answer.headers[b"cache-control"] == b"no-cache"
                check_headers(answer)
                again = await get(live, target, If_None_Match=answer.headers[b"etag"].decode())
                assert (again.status, again.body) == (304, b"")
                check_headers(again)
                assert (await get(live, target, If_None_Match='"another"')).status == 200


async def test_nothing_else_and_the_same_headers(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "files")
    with trio.fail_after(20):
        async with open_page(tmp_path / "provider", folder) as live:
            for target in (
                *("/browser/", "/browser", "/browser/ui", "/browser/ui/", "/browser/ui/notes.txt", "/favicon.ico"),
                *("/browser/package.json", "/browser/other/secret.js", "/browser/../pyproject.toml", "/index.html/"),
                *(
                    "/browser/ui/../other/secret.js",
                    "/browser/ui/%2e%2e/other/secret.js",
                    "/browser/..%2fother/secret.js",
                ),
                *(
                    "/browser//ui/style.css",
                    "/browser/ui/style.css/",
                    "/browser/ui/style.css%00",
                ),
                *("/browser/ui\\style.css", "/browser/UI/style.css", "/browser/%2fetc/passwd", "/browser//etc/passwd"),
                *(
                    "/browser/" + str(folder / "other/secret.js"),
                    "/browser/%c0%ae%c0%ae/pyproject.toml",
                    "/demo",
                    "/demo/",
                ),
            ):
                answer = await get(live, target)
                assert answer.status == 404, target
                assert problem_code(answer) == "not-found"
                check_headers(answer)
            for method, target in (("POST", "/"), ("PUT", "/browser/ui/style.css"), ("DELETE", "/demo/state")):
                answer = await live.ask(request_bytes(method, target))
                assert problem_code(answer) == "method-not-allowed"
                check_headers(answer)
            for target in ("/healthz", "/v1/checkpoint", "/v1/nothing", "/demo/state?x=1"):
                check_headers(await get(live, target))


async def test_a_provider_without_a_page_has_none_of_it(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with running_provider(tmp_path / "provider") as provider, serving(create_app(provider.gateway)) as live:
            for method, target in (
                *(("GET", "/"), ("GET", "/browser/ui/main.js"), ("GET", "/demo/state")),
                *(("POST", "/demo/lie"), ("POST", "/demo/reset"), ("POST", "/demo/hello")),
            ):
                answer = await live.ask(request_bytes(method, target, {"Content-Type": "application/json"}, b"{}"))
                assert problem_code(answer) == "not-found"
                assert b"content-security-policy" not in answer.headers


async def test_the_plain_page_cannot_make_anybody_lie(tmp_path: Path) -> None:
    data = tmp_path / "provider"
    with trio.fail_after(20):
        await create_node(data)
        async with open_node(ServeOptions(data, "127.0.0.1", 0, "parallel", 1, 1, 0, 60_000, 60_000)) as node:
            face = make_plain_page(node)
        async with running_provider(data) as provider, serving(create_app(provider.gateway, more=[face])) as live:
            state = json.loads((await get(live, "/demo/state")).body)
            assert (state["can_lie"], state["bots"], state["lies"], state["lie"]) == (False, [], [], None)
            assert state.keys() == {"origin", "can_lie", "started_ms", "bots", "lies", "lie", "pipeline"}
            for path in ("/demo/lie", "/demo/reset", "/demo/hello"):
                for method in ("POST", "GET"):
                    answer = await live.ask(request_bytes(method, path, {"Content-Type": "application/json"}, b"{}"))
                    assert problem_code(answer) == "not-found"


async def test_counts_of_what_went_through(tmp_path: Path) -> None:
    """Two messages to three mailboxes: each stage shows what it took and what it passed on."""
    alice, bob, carol = [Device(name) for name in ("alice", "bob", "carol")]
    counts = Counts()
    with trio.fail_after(20):
        async with running_provider(tmp_path / "provider") as provider:
            counts.watch(provider.gateway.pipeline)
            for text in (b"one", b"two"):
                receipt = await provider.submit(alice.write(provider.origin, [text], [bob, carol]))
                await provider.wait_shown(receipt)
    picture = counts.picture()
    assert (picture["n_messages"], picture["n_deliveries"], picture["connections"]) == (2, 6, 0)
    assert picture["epoch"] == str(provider.log_size - 1)
    for name, taken, passed in (("inbox", 2, 2), ("router", 2, 6), ("receiver", 6, 6), ("outbox", 6, 6)):
        assert picture["actors"][f"{name}-0-0"] == {"taken": taken, "passed": passed}
    assert picture["actors"]["log-0-0"] == {"taken": counts.n_epochs, "passed": counts.n_epochs}


async def test_many_modules_come_quickly(tmp_path: Path) -> None:
    """A page without a bundler asks for each of its modules: a hundred over one connection take no second."""
    folder = write_files(tmp_path / "files")
    for number in range(100):
        (folder / "io").mkdir(exist_ok=True)
        (folder / "io" / f"module{number}.js").write_bytes(os.urandom(5_000).hex().encode())
    with trio.fail_after(20):
        async with open_page(tmp_path / "provider", folder) as live, await live.connect() as stream:
            start = time.perf_counter()
            for number in range(100):
                await stream.send_all(request_bytes("GET", f"/browser/io/module{number}.js"))
                answer = await read_answer(stream)
                assert (answer.status, len(answer.body)) == (200, 10_000)
            assert time.perf_counter() - start < 5


def test_a_wheel_has_all_of_it() -> None:
    """Where it lies there, `find_folder` looks first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    included = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    browser = {name: f"noise/demo/browser/{name}" for name in (assets.INDEX, *assets.FOLDERS)}
    assert {f"clients/browser/{name}": place for name, place in browser.items()}.items() <= included.items()
    assert assets._BESIDE == ROOT / "noise" / "demo" / "browser"
    assert assets._IN_CHECKOUT == ROOT / "clients" / "browser"
