"""Keeps the architecture's rules: which way imports point, what is confined where, how large and how named things are.

Reads files, never imports them; knows the rooms of the project by name, and nothing of what they do.
A rule is a function from one file to its complaints, each of which says what to do. Every rule is tested twice: it
must find fault with the bad examples given beside it (and none with the good ones), and none with the project itself.
A rule that makes the code worse in some place is changed here, in the open, with its reason.
"""

import ast
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from tests import tidiness_browser  # noqa: F401, its rule joins the others
from tests.tidiness import RULES, Complaint, File, Rule, imports, is_in, rule_with

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("noise", "clients", "tests", "docs", ".ci")
MADE = {"__pycache__", "node_modules"}  # by tools, and in no repository
VENDORED = "clients/browser/vendor/"  # as others wrote it; `tests/browser/test_vendored.py` compares

FILE_LINES_MAX = 430  # "near 400": what a reader keeps in mind at once
JAVASCRIPT_LINES_MAX = 620  # the same: types stand in comments, a line for each argument
FUNCTION_LINES_MAX = 75  # "near 70": what fits on a screen

# Top to bottom. A module imports from its own room and from the rooms below; rooms on one line do not see each other.
LAYERS = (
    ("noise.__main__",),
    ("noise.cli",),
    ("noise.renewal", "noise.demo"),
    ("noise.node",),
    ("noise.web",),
    ("noise.pipeline",),
    ("noise.store", "noise.exchange"),
    ("noise.rosters",),
    ("noise.config", "noise.keys"),
    ("noise.protocol",),
)
DEPTH = {room: depth for depth, rooms in enumerate(LAYERS) for room in rooms}

STAGES = tuple(f"noise.pipeline.{name}" for name in ("inbox", "router", "receiver", "outbox", "fanout", "sequencer"))
HANDLERS = tuple(
    f"noise.web.{name}"
    for name in ("submit", "mailbox", "prekeys", "push", "history", "sessions", "health", "audit", "complaints")
)

LIARS = tuple(f"noise.demo.{name}" for name in ("zoo", "menu", "house", "panel"))
"""What can lie, or have somebody lie: `noise serve` never gets to see it."""

CONTRACTS = ("noise.store.base", "noise.store.custody", "noise.exchange.base")

PROTOCOL_THIRD_PARTIES = {"cryptography"}
PROTOCOL_REFUSED = {  # time and randomness are arguments; bytes come in and values go out
    *("asyncio", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess", "threading", "time", "trio"),
}
CONFINED = {
    "quart": "noise/web/* noise/demo/page.py noise/demo/panel.py",
    "quart_trio": "noise/web/* noise/demo/page.py noise/demo/panel.py",
    "hypercorn": "noise/web/*",
    "wsproto": "noise/web/*",
    "sqlite3": "noise/store/* clients/noise_client/trust_store*",
    "coredis": "noise/store/redis.py noise/exchange/redis.py",
    "trio_websocket": "clients/noise_client/link.py clients/noise_client/gossip_link.py",
    "httpx": "clients/noise_client/provider_http.py noise/cli/asking.py",
}
NAMELESS = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}
# Joined from halves, so that this file does not break its own rules.
INTERNAL_WORDS = ("/wo" + "rk/", "shared/" + "design", ".lib" + "rary")
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def room_of(name: str) -> str | None:
    return next((room for room in DEPTH if is_in(name, room)), None)


@rule_with(
    bad=[
        ("noise/pipeline/inbox.py", "from noise.web import app"),
        ("noise/pipeline/inbox.py", "from ..web import app"),
        ("noise/pipeline/inbox.py", "def late():\n    import noise.node"),
        ("noise/protocol/merkle.py", "from noise.store.base import Store"),
        ("noise/protocol/merkle.py", "from noise import log"),
        ("noise/store/sqlite.py", "import noise.exchange.base"),
        ("noise/node.py", "from noise.cli import main"),
        ("noise/web/app.py", "import noise.elsewhere.thing"),
        ("noise/elsewhere.py", ""),
        ("noise/__init__.py", "from noise.node import open_node"),
    ],
    good=[
        ("noise/cli/serve.py", "from noise.node import open_node\nfrom noise import __version__"),
        ("noise/node.py", "from noise.store import sqlite\nfrom noise.exchange.redis import RedisExchange"),
        ("noise/web/push.py", "from . import auth\nfrom ..pipeline.fanout import Fanout\nimport noise.protocol.frames"),
        ("noise/store/sqlite.py", "from .base import Store\nfrom .memory import MemoryStore"),
        ("noise/protocol/evidence/forks.py", "from ..merkle import root"),
    ],
)
def imports_point_down(file: File) -> Iterator[Complaint]:
    if not is_in(file.name, "noise"):
        return
    room = room_of(file.name)
    if room is None and file.name != "noise":
        yield 1, f"{file.name} is in no room: give it a place in LAYERS, with the architecture's consent"
        return
    depth = DEPTH[room] if room else len(LAYERS)
    for line, target in imports(file):
        target_room = room_of(target)
        if target_room is None:
            if re.match(r"noise\.(?!__)", target):
                yield line, f"imports {target}, which is in no room: see LAYERS"
        elif target_room != room and DEPTH[target_room] <= depth:
            yield line, f"imports {target}, which is not below it: pass the value in, or move the code down"


@rule_with(
    bad=[
        ("noise/pipeline/outbox.py", "from noise.store.sqlite import SqliteStore"),
        ("noise/pipeline/outbox.py", "from noise.store import SqliteStore"),
        ("noise/web/app.py", "import noise.exchange"),
        ("noise/cli/serve.py", "from noise.store import memory"),
        ("noise/pipeline/router.py", "from noise.store.custody_sqlite import open_custody"),
    ],
    good=[
        ("noise/pipeline/outbox.py", "from noise.store import base\nfrom noise.exchange.base import Exchange"),
        ("noise/pipeline/router.py", "from noise.store.custody import CustodyRow"),
        ("noise/node.py", "import noise.store.memory"),
    ],
)
def only_node_picks_stores_and_exchanges(file: File) -> Iterator[Complaint]:
    for line, target in imports(file) if is_in(file.name, "noise") else ():
        room = room_of(target)
        if room not in {"noise.store", "noise.exchange"} or is_in(file.name, room, "noise.node"):
            continue
        if not is_in(target, *CONTRACTS):
            yield line, f"imports {target}: use a contract in {room}, and let noise.node pick the concrete one"


@rule_with(
    bad=[
        ("noise/pipeline/router.py", "from noise.pipeline.inbox import Inbox"),
        ("noise/pipeline/router.py", "from . import sequencer"),
        ("noise/web/submit.py", "from .mailbox import fetch"),
    ],
    good=[
        ("noise/pipeline/router.py", "from .batches import Batch\nfrom noise.pipeline.inboxes import x"),
        ("noise/pipeline/assembly.py", "from .inbox import Inbox"),
        ("noise/web/submit.py", "from . import auth, problems"),
        ("noise/web/app.py", "from . import submit, mailbox"),
    ],
)
def stages_and_handlers_do_not_meet(file: File) -> Iterator[Complaint]:
    for siblings, advice in (
        (STAGES, "share noise.pipeline.batches and meet in noise.pipeline.assembly"),
        (HANDLERS, "what two handlers need belongs to noise.web.auth, noise.web.problems or the pipeline"),
    ):
        me = next((sibling for sibling in siblings if is_in(file.name, sibling)), None)
        others = [sibling for sibling in siblings if sibling != me]
        for line, target in imports(file) if me else ():
            if is_in(target, *others):
                yield line, f"imports {target}: {advice}"


@rule_with(
    bad=[
        ("noise/pipeline/inbox.py", "from noise.config import Config"),
        ("noise/web/app.py", "from noise import config"),
    ],
    good=[("noise/node.py", "from noise import config"), ("noise/cli/serve.py", "import noise.config")],
)
def config_stays_at_the_top(file: File) -> Iterator[Complaint]:
    if is_in(file.name, "noise") and not is_in(file.name, "noise.config", "noise.node", "noise.cli", "noise.demo"):
        for line, target in imports(file):
            if is_in(target, "noise.config"):
                yield (
                    line,
                    "reads the configuration: take plain values as arguments from noise.node, noise.cli or noise.demo",
                )


@rule_with(
    bad=[
        ("noise/web/push.py", "import noise_client"),
        ("noise/cli/serve.py", "from noise_client.client import Client"),
        ("noise/demo/house.py", "from noise_client.client import Client"),
        ("clients/noise_client/link.py", "from noise.web import app"),
        ("clients/noise_client/link.py", "from noise import keys"),
    ],
    good=[
        # The one exception: the demo shows both sides of the wire, so it runs the SDK against the server.
        ("noise/demo/bots.py", "from noise_client.client import Client"),
        ("clients/noise_client/link.py", "from noise.protocol import frames\nfrom . import gossip"),
    ],
)
def server_and_sdk_share_the_protocol_only(file: File) -> Iterator[Complaint]:
    for line, target in imports(file):
        if is_in(file.name, "noise") and not is_in(file.name, "noise.demo.bots") and is_in(target, "noise_client"):
            yield line, "the server knows nothing of the SDK: what both need belongs to noise.protocol"
        if is_in(file.name, "noise_client") and is_in(target, "noise") and not is_in(target, "noise.protocol"):
            yield line, f"imports {target}: of the server the SDK knows noise.protocol only"


@rule_with(
    bad=[
        ("noise/node.py", "from noise.demo.zoo.lies import make_lie"),
        ("noise/cli/serve.py", "from noise.demo.zoo.provider import LyingProvider"),
        ("noise/cli/serve.py", "from noise.demo.house import House"),
        ("noise/cli/serve.py", "from noise.demo import panel"),
        ("noise/demo/plain.py", "from noise.demo.panel import PanelFace"),
        ("noise/demo/page.py", "from noise.demo.zoo import lie"),
    ],
    good=[
        ("noise/cli/serve.py", "from noise.demo.plain import make_plain_page"),
        ("noise/cli/demo.py", "from noise.demo.house import House\nfrom noise.demo.panel import PanelFace"),
        ("noise/demo/house.py", "from noise.demo.zoo.lie import Lie"),
        ("noise/demo/zoo/lies.py", "from noise.demo.zoo.lie import Lie"),
        ("tests/zoo/convicting.py", "from noise.demo.zoo.lie import Lie"),
    ],
)
def lies_stay_in_the_demo(file: File) -> Iterator[Complaint]:
    if not is_in(file.name, "noise") or is_in(file.name, "noise.cli.demo", *LIARS):
        return
    for line, target in imports(file):
        if is_in(target, *LIARS):
            yield line, f"imports {target}: what serves a real provider can have no way to a lie"


@rule_with(
    bad=[
        ("noise/protocol/merkle.py", "import trio"),
        ("noise/protocol/merkle.py", "from os import urandom"),
        ("noise/protocol/evidence/forks.py", "def now():\n    from time import time\n    return time()"),
        ("noise/protocol/merkle.py", "import numpy"),
    ],
    good=[("noise/protocol/merkle.py", "import hashlib\nfrom cryptography.exceptions import InvalidSignature")],
)
def protocol_is_pure(file: File) -> Iterator[Complaint]:
    if not is_in(file.name, "noise.protocol"):
        return
    allowed = (sys.stdlib_module_names - PROTOCOL_REFUSED) | PROTOCOL_THIRD_PARTIES | {"noise"}
    for line, target in imports(file):
        if target.split(".")[0] not in allowed:
            yield line, f"imports {target}: the protocol does no I/O; take time, randomness and bytes as arguments"


@rule_with(
    bad=[
        ("noise/pipeline/fanout.py", "from quart import request"),
        ("noise/node.py", "import hypercorn.config"),
        ("noise/pipeline/slots.py", "import sqlite3"),
        ("noise/store/sqlite.py", "from coredis import Redis"),
        ("clients/noise_client/client.py", "import trio_websocket"),
        ("clients/noise_client/link.py", "import wsproto"),
    ],
    good=[
        ("noise/web/listen.py", "import hypercorn, quart_trio, wsproto.events"),
        ("noise/store/redis.py", "import coredis"),
        ("clients/noise_client/trust_store.py", "import sqlite3"),
        ("clients/noise_client/trust_store_sqlite.py", "import sqlite3"),
        ("clients/noise_client/link.py", "from trio_websocket import open_websocket_url"),
        ("tests/web/test_listen.py", "import trio_websocket"),
    ],
)
def third_parties_are_confined(file: File) -> Iterator[Complaint]:
    for line, target in imports(file) if file.is_ours else ():
        places = CONFINED.get(target.split(".")[0])
        if places and not any(fnmatch(file.path, place) for place in places.split()):
            yield line, f"imports {target}, which is confined to {places}: go through what that file offers"


@rule_with(
    bad=[
        ("noise/pipeline/inbox.py", "def f(n: int) -> None:\n    assert n > 0"),
        ("clients/noise_client/link.py", "if __debug__:\n    check()"),
    ],
    good=[("tests/test_it.py", "assert True")],
)
def code_works_under_python_o(file: File) -> Iterator[Complaint]:
    for node in ast.walk(file.tree) if file.is_ours else ():
        if isinstance(node, ast.Assert):
            yield node.lineno, "assert disappears under python -O: raise an error, or let the types say it"
        elif isinstance(node, ast.Name) and node.id == "__debug__":
            yield node.lineno, "__debug__ changes under python -O: do the same in both"


@rule_with(
    bad=[("noise/web/push.py", "import trio"), ("tests/web/test_push.py", "# a comment\nx = 1")],
    good=[("noise/web/__init__.py", ""), ("noise/web/push.py", '"""Pushes."""\nimport trio')],
)
def modules_say_what_they_are(file: File) -> Iterator[Complaint]:
    if file.tree.body and not ast.get_docstring(file.tree):
        yield 1, "has no docstring: say in one line what it is for, and then what it must not know"


@rule_with(
    bad=[
        ("noise/protocol/utils.py", ""),
        ("noise/helpers/merkle.py", ""),
        ("clients/browser/protocol/common.js", ""),
        ("tests/manager/__init__.py", ""),
    ],
    good=[("noise/protocol/merkle.py", ""), ("docs/common.md", "")],
)
def names_say_something(file: File) -> Iterator[Complaint]:
    path = Path(file.path)
    for part in {*path.parts[:-1], path.stem} & NAMELESS if path.suffix in {".py", ".js"} else ():
        yield 1, f"{part!r} says nothing: name it for what it holds, in the words of the field"


@rule_with(
    bad=[
        ("noise/web/app.py", '"""Long."""\n' * (FILE_LINES_MAX + 1)),
        ("clients/browser/protocol/merkle.js", "x\n" * (JAVASCRIPT_LINES_MAX + 1)),
        ("noise/web/app.py", "class A:\n    async def f(self):\n" + "        x = 1\n" * FUNCTION_LINES_MAX),
    ],
    good=[
        ("noise/web/app.py", '"""Long."""\n' * FILE_LINES_MAX),
        ("noise/web/app.py", "def f():\n" + "    x = 1\n" * (FUNCTION_LINES_MAX - 1)),
        ("docs/protocol.md", "x\n" * 1000),
    ],
)
def files_and_functions_are_short(file: File) -> Iterator[Complaint]:
    limits = {".py": FILE_LINES_MAX, ".js": JAVASCRIPT_LINES_MAX}
    lines, most = file.text.count("\n"), limits.get(Path(file.path).suffix)
    if most is not None and lines > most:
        yield 1, f"has {lines} lines, more than {most}: find the two subjects in it and split it"
    for node in ast.walk(file.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {lines} lines, more than {FUNCTION_LINES_MAX}: name its steps"


@rule_with(
    bad=[
        ("noise/web/app.py", "# TO" + "DO: later"),
        ("clients/browser/ui/view.js", "// FIX" + "ME"),
        ("docs/protocol.md", "XX" + "X"),
    ],
    good=[("tests/vectors/keys.json", "+XX" + "X/"), (".ci/run", "mktemp noise.XXXXXX")],
)
def nothing_is_left_for_later(file: File) -> Iterator[Complaint]:
    if file.path.endswith((".py", ".js", ".html", ".css", ".md", ".toml")) or file.path.startswith(".ci/"):
        for number, line in enumerate(file.text.splitlines(), 1):
            if found := UNFINISHED.search(line):
                yield number, f"says {found[0]}: do it now, or write it down as a limit in the docs"


@rule_with(
    bad=[("docs/architecture.md", f"see {word}x") for word in INTERNAL_WORDS],
    good=[("docs/architecture.md", "works in a shared library, by design")],
)
def nothing_points_outside(file: File) -> Iterator[Complaint]:
    for number, line in enumerate(file.text.splitlines(), 1):
        for word in INTERNAL_WORDS:
            if word in line:
                yield number, f"names {word!r}, a place that readers do not have: let the text stand alone"


@cache
def project_files() -> list[File]:
    """Every file of the rooms and of the root: no git needed, so it also works in an unpacked source distribution."""
    rooms = (path for room in ROOMS for path in (ROOT / room).rglob("*") if not MADE & {*path.parts})
    paths = sorted(path for path in (*ROOT.iterdir(), *rooms) if path.is_file())
    files = [File(path.relative_to(ROOT).as_posix(), path.read_text("utf-8", errors="replace")) for path in paths]
    return [file for file in files if not file.path.startswith(VENDORED)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.check.__name__)
def test_project_keeps_the_rule(rule: Rule) -> None:
    complaints = [f"{file.path}:{line}: {what}" for file in project_files() for line, what in rule.check(file)]
    if complaints:
        pytest.fail("\n".join([f"{rule.check.__name__}:", *complaints]), pytrace=False)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.check.__name__)
def test_rule_finds_what_it_looks_for(rule: Rule) -> None:
    for path, source in rule.bad:
        assert list(rule.check(File(path, source))), f"no complaint about {path}: {source[:80]!r}"
    for path, source in rule.good:
        assert not list(rule.check(File(path, source))), f"a complaint about {path}: {source[:80]!r}"


def test_project_files_are_found() -> None:
    paths = {file.path for file in project_files()}
    assert {
        "pyproject.toml",
        "noise/protocol/errors.py",
        "clients/noise_client/__init__.py",
        "tests/test_tidy.py",
    } <= paths
