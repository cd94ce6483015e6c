"""The liar's panel over real sockets: what it refuses, and that nobody can use it from another site's page.

Knows nothing of what comes of a lie.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from noise.config import LIED_MARK
from noise.demo.menu import OFFERS, choose_lie, offers_in
from noise.demo.page import HEADERS
from noise.demo.zoo.lies import FACTS
from noise.protocol.errors import Rejected
from noise.protocol.identifiers import format_id
from noise_client import create_device
from tests.demo.guests import CUT_SHORT, Visit, open_house

pytestmark = pytest.mark.filterwarnings(CUT_SHORT)

DROP = {"name": "drop-one", "by": None, "victim": None}
HOSTILE = [
    *(b"", b"null", b"[]", b'"x"', b"1", b"{", b"\xff", b"[" * 15_000, b'{"name":"drop-one","name":"fork"}'),
    *(
        b'{"by":null,"victim":null}',
        b'{"name":1}',
        b'{"name":null}',
        b'{"name":["drop-one"]}',
        b'{"name":"drop-one","by":1}',
    ),
    *(b'{"name":"drop-one","victim":[]}', b'{"name":"drop-one","after":3}', b'{"name":"drop-one","victim":"AAAA"}'),
    *(
        b'{"name":"drop-one","victim":"%s"}' % (b"-" * 43),
        b'{"name":"drop-one","by":NaN}',
        b'{"name":"drop-one","by":{}}',
    ),
]


def code_of(answer: Any) -> str:
    problem: dict[str, Any] = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.status_code == problem["status"]
    for name, text in HEADERS.items():
        assert answer.headers[name] == text
    return str(problem["code"])


@asynccontextmanager
async def open_panel(data: Path) -> AsyncIterator[Visit]:
    with trio.fail_after(30):
        async with open_house(data) as visit:
            yield visit


def test_menu_covers_what_a_server_can_do() -> None:
    groups = [offer.group for offer in OFFERS.values()]
    assert list(dict.fromkeys(groups)) == ["drop", "alter", "reorder", "fork", "roll back", "more"]
    for offer in OFFERS.values():
        facts = FACTS[offer.name]
        assert facts.verdicts[0] not in {"stale", "suspected"}
        assert set(offer.by) <= set(facts.stages)
        assert [choose_lie(offer.name, role.name.lower()).by for role in offer.by] == [(role,) for role in offer.by]
        assert choose_lie(offer.name, None).by == offer.by[:1]
    for name, by, code in (
        ("garble-payload", None, "unknown-lie"),
        ("", None, "unknown-lie"),
        ("fork", "router", "no-such-liar"),
    ):
        with pytest.raises(Rejected) as caught:
            choose_lie(name, by)
        assert caught.value.code == code


def test_what_needs_two_messages_in_an_epoch_is_not_offered_where_they_never_meet() -> None:
    assert OFFERS.keys() - offers_in("central").keys() == {"swap-seqs"}
    assert offers_in("multithreaded") == offers_in("parallel") == OFFERS
    with pytest.raises(Rejected, match="unknown-lie"):
        choose_lie("swap-seqs", None, "central")


async def test_state_of_an_honest_house(tmp_path: Path) -> None:
    async with open_panel(tmp_path) as visit:
        state = await visit.state()
        assert state.keys() == {"origin", "can_lie", "started_ms", "bots", "lies", "lie", "pipeline"}
        current = visit.house.round
        assert (state["origin"], state["can_lie"], state["lie"]) == (current.provider.origin_text, True, None)
        ids = [format_id(device_id) for device_id in current.company.ids]
        assert state["bots"] == [
            {"name": n, "device_id": i} for n, i in zip(("alice", "bob", "carol"), ids, strict=True)
        ]
        assert [lie["name"] for lie in state["lies"]] == list(OFFERS)
        assert all(lie.keys() == {"name", "title", "summary", "group", "by"} and lie["by"] for lie in state["lies"])
        actors = {f"{role}-0-{n}" for role in ("inbox", "router", "receiver", "outbox") for n in (0, 1)}
        assert state["pipeline"]["actors"].keys() == actors | {"sequencer-0-0", "log-0-0"}
        assert not (current.data / LIED_MARK).exists()


async def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    async with open_panel(tmp_path) as visit:
        for data in HOSTILE:
            answer = await visit.post("/demo/lie", data=data)
            assert code_of(answer) == "malformed", data
        stranger = format_id(create_device().device_id)
        for body, code in (
            (DROP | {"name": "drop-two"}, "unknown-lie"),
            (DROP | {"name": "garble-payload"}, "unknown-lie"),
            (DROP | {"by": "sequencer"}, "no-such-liar"),
            (DROP | {"by": "Router"}, "no-such-liar"),
            (DROP | {"victim": stranger}, "unknown-victim"),
        ):
            assert code_of(await visit.post("/demo/lie", body)) == code
        large = json.dumps(DROP | {"name": "x" * 20_000}).encode()
        assert code_of(await visit.post("/demo/lie", data=large)) == "body-too-large"
        for path, body in (("/demo/reset", {"now": True}), ("/demo/hello", {}), ("/demo/hello", {"device_id": "x"})):
            assert code_of(await visit.post(path, body)) == "malformed"
        for name in ("x" * 65, "a\nb", "\u202e"):
            answer = await visit.post("/demo/hello", {"device_id": stranger, "name": name})
            assert code_of(answer) == "bad-request"
        assert code_of(await visit.post("/demo/lie?name=fork", DROP)) == "bad-query"
        assert (await visit.state())["lie"] is None
        assert visit.house.round.company.guests == []


async def test_no_other_site_can_use_it(tmp_path: Path) -> None:
    async with open_panel(tmp_path) as visit:
        own = visit.url
        port = own.rpartition(":")[2]
        for origin in (
            "http://evil.example",
            "null",
            "",
            f"http://localhost:{port}",
            f"{own}0",
            f"ftp://127.0.0.1:{port}",
        ):
            for path in ("/demo/lie", "/demo/reset", "/demo/hello"):
                assert code_of(await visit.post(path, DROP, Origin=origin)) == "foreign-page"
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
            for path in ("/demo/lie", "/demo/reset", "/demo/hello"):
                assert code_of(await visit.post(path, DROP, Content_Type=kind)) == "unsupported-media-type"
        assert (await visit.state())["lie"] is None
        answer = await visit.post("/demo/lie", DROP, Origin=own, Content_Type="application/json; charset=utf-8")
        assert answer.status_code == 202


async def test_no_other_name_leads_to_it(tmp_path: Path) -> None:
    """A site can have its own name lead to this machine: then its page and its Origin are of the server's Host."""
    body = {"device_id": format_id(create_device().device_id)}
    async with open_panel(tmp_path) as visit:
        for name in ("evil.example", "demo.example.evil.example", "localhost.evil.example", "127.0.0.1.evil.example"):
            for host in (name, f"{name}:8080"):
                for path in ("/demo/lie", "/demo/reset", "/demo/hello"):
                    assert code_of(await visit.post(path, body, Host=host, Origin=f"http://{host}")) == "foreign-page"
        for host in ("", "[evil.example]", "127.0.0.1:8080:evil.example", "127.1", "[::1", "a@127.0.0.1"):
            assert code_of(await visit.post("/demo/hello", body, Host=host)) == "foreign-page", host
        for host in ("127.0.0.1", "192.0.2.7:80", "[::1]", "[::1]:8080", "localhost:8080", "Demo.Example:8080"):
            answer = await visit.post("/demo/hello", body, Host=host, Origin=f"https://{host}")
            assert answer.status_code == 204, host


async def test_a_provider_that_cannot_be_marked_does_not_lie(tmp_path: Path) -> None:
    async with open_panel(tmp_path) as visit:
        mark = visit.house.round.data / LIED_MARK
        mark.symlink_to(tmp_path / "nowhere" / "else")
        assert code_of(await visit.post("/demo/lie", DROP)) == "unavailable"
        assert (await visit.state())["lie"] is None
        mark.unlink()
        assert (await visit.post("/demo/lie", DROP)).status_code == 202


async def test_one_lie_to_a_provider_and_then_a_new_one(tmp_path: Path) -> None:
    async with open_panel(tmp_path) as visit:
        first = visit.house.round
        answer = await visit.post("/demo/lie", DROP | {"by": "outbox"})
        assert answer.status_code == 202
        lie = answer.json()["lie"]
        assert (lie["name"], lie["by"], lie["state"], lie["told"]) == ("drop-one", "outbox", "armed", [])
        assert (first.data / LIED_MARK).exists()
        for name in ("drop-one", "fork"):
            assert code_of(await visit.post("/demo/lie", DROP | {"name": name})) == "lying-already"
        while not (told := (await visit.state())["lie"])["told"]:
            await trio.sleep(0.02)
        assert told["state"] == "told"
        assert told["told"][0].keys() == {"epoch", "by", "victim"}
        assert told["told"][0]["by"].startswith("outbox-0-")
        answer = await visit.post("/demo/reset")
        assert (answer.status_code, answer.json()["origin"]) == (202, first.provider.origin_text)
        url = first.provider.url
        while visit.house.round is first or not visit.house.round.company.is_ready.is_set():
            await trio.sleep(0.02)
        assert visit.url == url
        state = await visit.state()
        assert (state["lie"], state["origin"] != first.provider.origin_text) == (None, True)
        assert not {bot["device_id"] for bot in state["bots"]} & {format_id(one) for one in first.company.ids}
