"""Which way imports point in the browser client, and what its protocol may not use. Read by `tests/test_tidy.py`.

Knows nothing of what the modules do.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tests.tidiness import Complaint, File, rule_with

BROWSER_ROOMS = ("ui", "io", "protocol", "vendor")
"""Of the browser client, top to bottom."""

BROWSER_PROTOCOL_REFUSED = re.compile(
    r"\b(Date|performance|fetch|WebSocket|indexedDB|document|window|setTimeout)\b\s*[.(]|Math\.random|getRandomValues"
)


@rule_with(
    bad=[
        ("clients/browser/protocol/merkle.js", 'import { openLink } from "../io/link.js";'),
        ("clients/browser/protocol/evidence/walk.js", 'import { openLink } from "../../io/link.js";'),
        ("clients/browser/io/link.js", 'import { h } from "../ui/elements.js";'),
        ("clients/browser/io/link.js", 'import { x } from "https://elsewhere.example/x.js";'),
        ("clients/browser/ui/app.js", 'import "lit";'),
        ("clients/browser/protocol/merkle.js", "const now = Date.now();"),
        ("clients/browser/protocol/merkle.js", "const nonce = crypto.getRandomValues(data);"),
    ],
    good=[
        ("clients/browser/io/link.js", 'import { equal } from "../protocol/bytes.js";\nconst now = Date.now();'),
        ("clients/browser/protocol/signing.js", 'import { sha256 } from "../vendor/noble-hashes/sha2.js";'),
        ("clients/browser/ui/app.js", 'const { openClient } = await import("../io/client.js");'),
    ],
)
def browser_imports_point_down(file: File) -> Iterator[Complaint]:
    parts = Path(file.path).parts
    if parts[:2] != ("clients", "browser") or len(parts) < 4 or not file.path.endswith(".js"):
        return
    room = BROWSER_ROOMS.index(parts[2])
    for number, line in enumerate(file.text.splitlines(), 1):
        for target in re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", line):
            found = os.path.normpath(Path(file.path).parent / target).split(os.sep)
            is_known = target.startswith(".") and found[:2] == ["clients", "browser"] and found[2] in BROWSER_ROOMS
            if not is_known or BROWSER_ROOMS.index(found[2]) < room:
                yield number, f"imports {target}: {' -> '.join(BROWSER_ROOMS)} is the way, and nothing from elsewhere"
        if parts[2] == "protocol" and not line.lstrip().startswith("*") and BROWSER_PROTOCOL_REFUSED.search(line):
            yield number, "has I/O, time or randomness: they are arguments in protocol/"
