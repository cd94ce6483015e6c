"""Refusals over HTTP: one table, one form, and nothing of our inside in them."""

import ast
import json
from http import HTTPStatus
from pathlib import Path

import pytest
import trio

from noise.protocol.errors import NoiseError, Rejected
from noise.store.base import StoreCorrupt, StoreFailed
from noise.web import problems
from noise.web.app import create_app
from noise.web.bodies import COMPLAINTS_PATH, PREKEYS_PATH
from noise.web.problems import STATUS_OF_CODE, make_problem, problem_of
from tests.provider import Device, running_provider
from tests.web.face import HOST, OCTETS, Face, open_face, problem_code, request_bytes
from tests.web.live_http import read_answer, read_to_end, serving

NOISE = Path(problems.__file__).parent.parent
REACHABLE = [
    *(f"protocol/{name}.py" for name in ("encoding", "envelope", "json_text", "merkle", "prekeys", "signing")),
    *(f"pipeline/{name}.py" for name in ("assembly", "catchup", "epoch_log", "fanout", "inbox", "reissue", "slots")),
    *(f"pipeline/{name}.py" for name in ("challenges", "custody", "log_openings")),
    *("protocol/evidence/verdict.py", "store/base.py"),
    *(f"web/{name}.py" for name in ("auth", "history", "health", "mailbox", "negotiation", "prekeys", "query")),
    *(f"web/{name}.py" for name in ("complaints", "sessions", "submit", "tokens")),
]
"""The files whose refusals a handler can pass on."""


def codes_in(path: Path) -> set[str]:
    """Every code that a file gives to an error: `code="..."` in a call, `default_code = "..."` in a class."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "code":
            found |= {leaf.value for leaf in ast.walk(node.value) if isinstance(leaf, ast.Constant)}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(getattr(target, "id", "") == "default_code" for target in targets):
                assert isinstance(node.value, ast.Constant)
                found.add(node.value.value)
    return {code for code in found if isinstance(code, str)}


def test_every_code_that_can_get_here_is_in_the_table() -> None:
    codes = {code for name in REACHABLE for code in codes_in(NOISE / name)}
    assert len(codes) > 30
    assert codes <= STATUS_OF_CODE.keys(), codes - STATUS_OF_CODE.keys()


def test_table_holds_nothing_that_never_gets_here() -> None:
    used = {code for path in NOISE.rglob("*.py") for code in codes_in(path)}
    used |= set(problems._CODE_OF_STATUS.values()) | {"bad-request"}
    assert STATUS_OF_CODE.keys() <= used, STATUS_OF_CODE.keys() - used


def test_refusals_blame_the_client_and_failures_the_server() -> None:
    assert all(status >= HTTPStatus.BAD_REQUEST for status in STATUS_OF_CODE.values())
    refusals = codes_in(NOISE / "protocol/envelope.py") | codes_in(NOISE / "protocol/signing.py")
    assert {STATUS_OF_CODE[code] // 100 for code in refusals | codes_in(NOISE / "web/auth.py")} == {4}


async def body_of(error: NoiseError) -> dict[str, object]:
    response = problem_of(error)
    shown: dict[str, object] = json.loads(await response.get_data())
    assert response.status_code == shown["status"]
    return shown


async def test_failures_of_our_own_are_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    for error, code, status in (
        (StoreCorrupt("secret: run noise fsck"), "store-corrupt", 500),
        (StoreFailed("secret: /var/lib/noise"), "store-failed", 503),
        (NoiseError("secret", code="nobody-knows-this-code"), "internal", 500),
        (Rejected("secret", code="nobody-knows-this-code"), "internal", 500),
    ):
        caplog.clear()
        shown = await body_of(error)
        assert (shown["code"], shown["status"]) == (code, status)
        assert "secret" not in str(shown)
        assert "secret" not in caplog.text
        assert code != "internal" or isinstance(error, Rejected) or type(error).__name__ in caplog.text
    shown = await body_of(Rejected("told", code="unavailable"))
    assert (shown["detail"], shown["status"]) == ("told", 503)


def test_problem_has_the_form_of_rfc_9457() -> None:
    response = make_problem("counter-conflict", "why")
    assert response.content_type == "application/problem+json"
    assert response.status_code == 409


async def test_there_are_no_other_routes(tmp_path: Path) -> None:
    """No static files, no documentation pages, no answers to OPTIONS by themselves."""
    with trio.fail_after(10):
        async with running_provider(tmp_path / "provider") as provider:
            rules = {
                (rule.rule, *sorted(rule.methods or ())) for rule in create_app(provider.gateway).url_map.iter_rules()
            }
        posts = {(path, "POST") for path in ("/v1/bundles", "/v1/challenges", "/v1/sessions", PREKEYS_PATH)}
        posts |= {(path, "POST") for path in (COMPLAINTS_PATH, COMPLAINTS_PATH + "/<complaint>/challenges")}
        paths = (
            "/v1/mailbox",
            "/v1/audit/<epoch>",
            "/v1/checkpoint",
            "/v1/roster",
            "/v1/rosters",
            "/healthz",
            "/readyz",
        )
        logs = ("/v1/log/consistency", "/v1/log/inclusion", "/v1/log/records/<epoch>")
        devices = ("/v1/devices/<device>/prekey", "/v1/devices/<device>/prekeys")
        custody = (
            "/v1/custody/<complaint>/<actor>",
            "/v1/challenges/<challenge>",
            COMPLAINTS_PATH + "/<complaint>/challenges/<challenge>",
        )
        assert rules == posts | {(path, "GET", "HEAD") for path in (*paths, *logs, *devices, *custody)}


async def test_framework_refuses_in_the_same_form(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            for target in (
                "/",
                "/v1",
                "/docs",
                "/openapi.json",
                "/static/x",
                "//v1//roster",
                "/v1/push",
                "/%00",
                "/..",
                "/V1/ROSTER",
            ):
                assert await face.code("GET", target) == "not-found", target
            for method, target, allowed in (
                ("GET", "/v1/bundles", "POST"),
                ("OPTIONS", "/v1/bundles", "POST"),
                ("TRACE", "/v1/checkpoint", "GET, HEAD"),
                ("DELETE", "/v1/mailbox", "GET, HEAD"),
                ("BREW", "/v1/roster", "GET, HEAD"),
                ("POST", "/healthz", "GET, HEAD"),
            ):
                answer = await face.ask(method, target)
                assert problem_code(answer) == "method-not-allowed"
                assert answer.headers[b"allow"].decode() == allowed


async def test_bodies_that_are_too_large_or_too_slow(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with running_provider(tmp_path / "provider") as provider:
            app = create_app(provider.gateway)
            app.config["BODY_TIMEOUT"] = 0.05
            async with serving(app) as live:
                face = Face(provider, live)
                assert await face.code("POST", "/v1/bundles", bytes(1_048_577), Content_Type=OCTETS) == "body-too-large"
                declared = (
                    f"POST /v1/bundles HTTP/1.1\r\nHost: x\r\nContent-Type: {OCTETS}\r\nContent-Length: %d\r\n\r\n"
                )
                assert problem_code(await live.ask((declared % 10**12).encode())) == "body-too-large"
                async with await live.connect((declared % 500).encode() + b"x") as stream:
                    assert problem_code(await read_answer(stream)) == "request-timeout"
                chunked = declared.replace("/bundles", "/sessions").replace(
                    "Content-Length: %d", "Transfer-Encoding: chunked"
                )
                assert (
                    problem_code(await live.ask(chunked.encode() + b"5000\r\n" + bytes(0x5000) + b"\r\n0\r\n\r\n"))
                    == "body-too-large"
                )
                assert problem_code(await live.ask(chunked.encode() + b"5\r\nhello\r\n0\r\n\r\n")) == "malformed"


async def test_defect_is_a_problem_too_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> str:
        raise ZeroDivisionError("secret")

    with trio.fail_after(10):
        async with running_provider(tmp_path / "provider") as provider:
            app = create_app(provider.gateway)
            app.add_url_rule("/broken", view_func=broken)
            async with serving(app) as live:
                answer = await live.ask(request_bytes("GET", "/broken"))
                assert problem_code(answer) == "internal"
                assert b"secret" not in answer.body
                assert "ZeroDivisionError" in caplog.text
                assert "secret" not in caplog.text
                await Face(provider, live).send(Device("alice").write(provider.origin, [b"x"]))


async def test_every_answer_has_the_same_few_headers(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            for target in ("/healthz", "/readyz", "/v1/checkpoint", "/v1/roster", "/v1/log/records/0", "/none"):
                headers = (await face.ask("GET", target)).headers
                assert headers[b"x-content-type-options"] == b"nosniff"
                assert b"cache-control" in headers
                assert headers.keys().isdisjoint({b"server", b"x-powered-by", b"set-cookie", b"via"})


async def test_head_says_what_get_does_without_its_body(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            for target, status in (("/healthz", 200), ("/v1/checkpoint", 200), ("/none", 404), ("/v1/mailbox", 401)):
                length = len((await face.ask("GET", target)).body)
                request = request_bytes("HEAD", target, {"Connection": "close"})
                async with await face.live.connect(request) as stream:
                    head, _, body = (await read_to_end(stream)).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 %d " % status)
                assert b"content-length: %d\r\n" % length in head + b"\r\n"
                assert body == b""


async def test_host_may_say_anything(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            for host in ("", "[", "a b", "x" * 300, "..", "\xff", "1:2:3", f"{HOST}:x"):
                assert (await face.ask("GET", "/healthz", Host=host)).status == 200
