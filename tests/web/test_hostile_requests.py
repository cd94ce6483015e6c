"""Whatever a stranger sends: a problem with a stable code, never a failure of ours, nothing kept, and life goes on."""

import socket
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path

import hypothesis.strategies as st
import trio
from hypothesis import given, settings

from noise.protocol.encoding import Codec
from noise.protocol.envelope import BUNDLE_WIRE, BundleWire
from noise.protocol.errors import DecodeError
from noise.protocol.frames import SIGNED_AUTH_PROOF, SignedAuthProof
from noise.protocol.identifiers import format_id
from noise.protocol.json_text import Json, encode_json, parse_json
from tests.provider import Device
from tests.web.face import JSON, OCTETS, Face, open_face, problem_code, request_bytes
from tests.web.live_http import Answer

_WIRE: Codec[BundleWire] = BUNDLE_WIRE
_SIGNED: Codec[SignedAuthProof] = SIGNED_AUTH_PROOF

PATHS = (
    "/v1/bundles",
    "/v1/challenges",
    "/v1/sessions",
    "/v1/mailbox",
    "/v1/checkpoint",
    "/v1/roster",
    "/v1/rosters",
    "/v1/log/consistency",
    "/v1/log/inclusion",
    "/v1/log/records/0",
    "/v1/complaints",
    f"/v1/complaints/{format_id(bytes(32))}/challenges",
    f"/v1/custody/{format_id(bytes(32))}/inbox-0-0",
    f"/v1/challenges/{format_id(bytes(32))}",
    f"/v1/complaints/{format_id(bytes(32))}/challenges/{format_id(bytes(32))}",
    "/v1/push",
    "/healthz",
    "/readyz",
)
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW")

in_target = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
in_header = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)
paths = st.one_of(
    st.sampled_from(PATHS),
    st.builds("{}{}".format, st.sampled_from(PATHS), in_target),
    st.builds("/{}".format, in_target),
    st.builds("/v1/log/records/{}".format, in_target),
    st.builds("/v1/custody/{}/{}".format, in_target, in_target),
    st.builds("/v1/challenges/{}".format, in_target),
    st.builds("/v1/complaints/{}/challenges/{}".format, in_target, in_target),
)
numbers = st.one_of(st.integers(0, 5), st.integers(0, 2**70)).map(str) | in_target
names = st.sampled_from(["old", "new", "epoch", "size", "log_size", "hist_size", "hist_next", "last_epoch"]) | in_target
queries = st.lists(st.builds("{}={}".format, names, numbers), max_size=4).map("&".join) | in_target
headers = st.dictionaries(
    st.sampled_from(
        [
            "Accept",
            "Authorization",
            "Content-Type",
            "Content-Encoding",
            "Host",
            "Range",
            "If-None-Match",
            "Cookie",
            "Accept-Encoding",
        ]
    ),
    in_header | st.sampled_from(["Bearer x", OCTETS, JSON, "*/*", "gzip", "bytes=0-0", "*"]),
    max_size=4,
)


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes like these, with a piece replaced, cut out or put in."""

    def change(first: int, count: int, piece: bytes) -> bytes:
        return data[:first] + piece + data[first + count :]

    return st.builds(change, st.integers(0, len(data)), st.integers(0, 40), st.binary(max_size=40))


def mutated_json(value: Json) -> st.SearchStrategy[bytes]:
    """JSON like this, with one member of it, however deep, replaced."""
    places: list[tuple[object, ...]] = []

    def walk(inner: Json, way: tuple[object, ...]) -> None:
        places.append(way)
        items = inner.items() if isinstance(inner, dict) else enumerate(inner) if isinstance(inner, list) else ()
        for key, item in items:
            walk(item, (*way, key))

    walk(value, ())

    def change(way: tuple[object, ...], put: Json) -> bytes:
        def rebuilt(inner: Json, rest: tuple[object, ...]) -> Json:
            if not rest:
                return put
            if isinstance(inner, dict):
                return {key: rebuilt(item, rest[1:]) if key == rest[0] else item for key, item in inner.items()}
            return [rebuilt(item, rest[1:]) if key == rest[0] else item for key, item in enumerate(inner)]

        return encode_json(rebuilt(value, way))

    leaf = st.none() | st.booleans() | st.integers() | st.text(max_size=60) | st.binary(max_size=60).map(bytes.hex)
    values = st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    )
    return st.builds(change, st.sampled_from(places), values)


def is_json_of(value: Json, text: bytes) -> bool:
    """Whether a mutation changed nothing that counts."""
    try:
        return bool(parse_json(text) == value)
    except DecodeError:
        return False


def ask(address: tuple[str, int], request: bytes) -> Answer:
    """One request on a connection of its own, from another thread than the server's."""
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(request)
        response = HTTPResponse(sock, method=request.split(b" ", 1)[0].decode())
        response.begin()
        fields = {name.lower().encode(): value.encode("latin-1") for name, value in response.getheaders()}
        return Answer(response.status, fields, response.read())


async def search(face: Face, check: Callable[[], None]) -> None:
    """Run a property in another thread while the server runs in this one; then see that it is as it was."""
    await trio.to_thread.run_sync(check)
    assert await face.provider.gateway.store.bundles_since(0) == []
    await face.send(Device("alice").write(face.origin, [b"alive"]))


def check_answer(answer: Answer, *statuses: int) -> str | None:
    """The code of a refusal; None: it was none."""
    assert answer.status < 500, answer
    if answer.status < 400:
        assert answer.status in statuses, answer
        return None
    return problem_code(answer)


async def test_any_path_query_and_header_is_answered_properly(tmp_path: Path, search_factor: int) -> None:
    with trio.fail_after(110):
        async with open_face(tmp_path) as face:

            @settings(max_examples=100 * search_factor)
            @given(st.sampled_from(METHODS), paths, st.none() | queries, headers, st.binary(max_size=100))
            def check(method: str, path: str, query: str | None, fields: dict[str, str], body: bytes) -> None:
                target = path if query is None else f"{path}?{query}"
                answer = ask(face.live.address, request_bytes(method, target, fields, body))
                if method == "HEAD":
                    assert answer.status < 500
                else:
                    check_answer(answer, 200, 201)

            await search(face, check)


async def test_any_authorization_opens_nothing(tmp_path: Path, search_factor: int) -> None:
    with trio.fail_after(110):
        async with open_face(tmp_path) as face:
            token = await face.log_in(Device("alice"))

            @settings(max_examples=60 * search_factor)
            @given(in_header | mutated(token.encode()).map(lambda data: data.decode("latin-1")))
            def check(header: str) -> None:
                if header.strip() != token and "\r" not in header and "\n" not in header and "\0" not in header:
                    answer = ask(face.live.address, request_bytes("GET", "/v1/mailbox", {"Authorization": header}))
                    assert answer.status in {400, 401}

            await search(face, check)


async def test_any_cursor_is_answered_properly(tmp_path: Path, search_factor: int) -> None:
    with trio.fail_after(110):
        async with open_face(tmp_path) as face:
            bob = Device("bob")
            token = await face.log_in(bob)
            near = st.integers(0, 6) | st.sampled_from([2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1])

            @settings(max_examples=80 * search_factor)
            @given(st.tuples(near, near, near, near, near), st.sampled_from([OCTETS, JSON]))
            def check(cursor: tuple[int, ...], wanted: str) -> None:
                named = zip(("log_size", "roster_version", "hist_size", "hist_next", "last_epoch"), cursor, strict=True)
                target = "/v1/mailbox?" + "&".join(f"{name}={number}" for name, number in named)
                fields = {"Authorization": token, "Accept": wanted}
                code = check_answer(ask(face.live.address, request_bytes("GET", target, fields)), 200)
                assert code in {None, "cursor-ahead", "bad-cursor"}

            await face.provider.grow_log(4)
            await search(face, check)
            for _ in range(3):
                await face.provider.submit(bob.write(face.origin, [b"x"]))
            await trio.to_thread.run_sync(check)


async def test_any_bundle_is_refused_properly(tmp_path: Path, search_factor: int) -> None:
    with trio.fail_after(110):
        async with open_face(tmp_path) as face:
            alice = Device("alice", next_ctr=5)
            good = alice.write(face.origin, [b"one", b"two"], [Device("bob")]).encode()

            @settings(max_examples=100 * search_factor)
            @given(st.binary(max_size=200) | mutated(good))
            def check(body: bytes) -> None:
                if body != good:
                    fields = {"Content-Type": OCTETS}
                    check_answer(ask(face.live.address, request_bytes("POST", "/v1/bundles", fields, body)))

            readable = _WIRE.to_json(_WIRE.decode(good))

            @settings(max_examples=100 * search_factor)
            @given(mutated_json(readable) | mutated(encode_json(readable)))
            def check_json(body: bytes) -> None:
                if not is_json_of(readable, body):
                    fields = {"Content-Type": JSON}
                    check_answer(ask(face.live.address, request_bytes("POST", "/v1/bundles", fields, body)))

            await trio.to_thread.run_sync(check)
            await search(face, check_json)


async def test_any_proof_is_refused_properly(tmp_path: Path, search_factor: int) -> None:
    with trio.fail_after(110):
        async with open_face(tmp_path) as face:
            proof = await face.proof(Device("alice"))
            readable = _SIGNED.to_json(_SIGNED.decode(proof))

            @settings(max_examples=100 * search_factor)
            @given(st.binary(max_size=400) | mutated(proof))
            def check(body: bytes) -> None:
                if body != proof:
                    fields = {"Content-Type": OCTETS}
                    check_answer(ask(face.live.address, request_bytes("POST", "/v1/sessions", fields, body)))

            @settings(max_examples=100 * search_factor)
            @given(mutated_json(readable))
            def check_json(body: bytes) -> None:
                if not is_json_of(readable, body):
                    fields = {"Content-Type": JSON}
                    check_answer(ask(face.live.address, request_bytes("POST", "/v1/sessions", fields, body)))

            await trio.to_thread.run_sync(check)
            await search(face, check_json)
