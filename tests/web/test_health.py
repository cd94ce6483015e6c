"""What a supervisor is told: whether the process runs, and whether it can serve."""

from pathlib import Path

import trio

from noise.config import ServeOptions
from noise.node import create_node, open_node
from noise.web.app import create_app
from noise.web.gateway import Gateway
from tests.provider import Device, running_provider
from tests.web.face import problem_code, request_bytes
from tests.web.live_http import Live, serving


async def ask(live: Live, target: str) -> tuple[int, bytes]:
    answer = await live.ask(request_bytes("GET", target))
    return answer.status, answer.body


async def test_ready_with_the_newest_epoch(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with running_provider(tmp_path / "provider") as provider, serving(create_app(provider.gateway)) as live:
            assert await ask(live, "/healthz") == (200, b'{"status":"ok"}')
            assert await ask(live, "/readyz") == (200, b'{"epoch":"0"}')
            await provider.submit(Device("alice").write(provider.origin, [b"x"]))
            assert await ask(live, "/readyz") == (200, b'{"epoch":"1"}')
            for target in ("/healthz?x", "/readyz?verbose=1"):
                assert problem_code(await live.ask(request_bytes("GET", target))) == "bad-query"


async def test_alive_but_not_ready_before_the_first_epoch_of_this_run(tmp_path: Path) -> None:
    data = tmp_path / "provider"
    with trio.fail_after(10):
        await create_node(data)
        async with running_provider(data):
            pass
        options = ServeOptions(data, "127.0.0.1", 0, "parallel", 1, 1, 0, 60_000, 60_000)
        async with open_node(options) as node:
            gateway = Gateway(node.origin, node.pipeline, node.store, node.rosters, lambda: 0)
            async with serving(create_app(gateway)) as live:
                assert (await ask(live, "/healthz"))[0] == 200
                for target in (
                    "/readyz",
                    "/v1/checkpoint",
                    "/v1/log/records/0",
                    "/v1/log/consistency?old=1&new=1",
                    "/v1/log/inclusion?epoch=0&size=1",
                ):
                    answer = await live.ask(request_bytes("GET", target))
                    assert problem_code(answer) == "unavailable", target
                    assert (answer.status, answer.headers[b"retry-after"]) == (503, b"2")


async def test_alive_but_not_ready_without_its_store(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with running_provider(tmp_path / "provider") as provider:
            pass
        async with serving(create_app(provider.gateway)) as live:  # its store is closed by now
            assert (await ask(live, "/healthz"))[0] == 200
            answer = await live.ask(request_bytes("GET", "/readyz"))
            assert (answer.status, problem_code(answer)) == (503, "store-failed")
            assert str(tmp_path).encode() not in answer.body
