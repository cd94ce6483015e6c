"""What a refused delta commits to: the browser reads the same in it as Python, word for word, and both read it fast.

Knows nothing of what follows from it.
"""

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from noise.protocol.delta import HISTORY_ENTRY, Delta, HistoryEntry, RecipientLists
from noise.protocol.envelope import RECIPIENT_SET
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.lenient import committed_leaves, finder
from tests.javascript import ROOT, node
from tests.protocol.mutations import mutations
from tests.protocol.story import BOB, story
from tests.vectors.cast import ORIGIN

SCRIPT = ROOT / "tests" / "browser" / "lenient_agrees.js"
FLOOD_S = 10
N_SECTIONS = 1_000
"""Where each takes what its claims ask for, and not what it brings, this is minutes."""


def outcome_of(delta: Delta, entry: HistoryEntry) -> dict[str, Any]:
    try:
        found = committed_leaves(entry, ORIGIN, BOB, finder(delta, RecipientLists()))
    except NoiseError as error:
        return {"code": error.code, "detail": error.detail}
    return {"leaves": [[one.leaf.hex(), one.recipients.root.hex()] for one in found]}


def read_in_node(delta: Delta, entries: Sequence[HistoryEntry], timeout_s: float) -> list[dict[str, Any]]:
    known = {
        "origin": ORIGIN.hex(),
        "mailbox": BOB.hex(),
        "sets": [RECIPIENT_SET.encode(one).hex() for one in delta.sets],
    }
    lines = "".join(json.dumps({**known, "entry": HISTORY_ENTRY.encode(one).hex()}) + "\n" for one in entries)
    run = subprocess.run([node(), SCRIPT], input=lines, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_whatever_is_changed() -> None:
    delta = story().delta(BOB)
    entries = [*delta.history]
    for entry in delta.history:
        entries += [one.value for one in mutations(HISTORY_ENTRY, entry, delta.history)]
        for number, section in enumerate(entry.sections):
            for first_pos in range(2**48 - section.n_envelopes, 2**48):
                moved = section._replace(first_seq=section.first_seq[:10] + first_pos.to_bytes(6, "big"))
                sections = (*entry.sections[:number], moved, *entry.sections[number + 1 :])
                entries.append(entry._replace(sections=sections))
    ours = [outcome_of(delta, entry) for entry in entries]
    assert {"no such positions", "section rows do not match its indexes"} <= {one.get("detail") for one in ours}
    assert all("leaves" in one for one in ours[: len(delta.history)])
    assert read_in_node(delta, entries, 60) == ours


def test_a_small_section_that_claims_a_large_bundle_costs_what_it_brings() -> None:
    delta = story().delta(BOB)
    entry = delta.history[0]
    section, row = entry.sections[0], entry.sections[0].rows[0]._replace(common_len=0, ciphertext_len=0)
    claims = section._replace(n_envelopes=65_535, rows=(), indexes=(), commons=b"", ciphertexts=b"")
    claims = claims._replace(ciphertext_proofs=())
    one_of_many = claims._replace(rows=(row,), indexes=(0,), proof=(bytes(32),) * 16)
    flood = [entry._replace(sections=(one_of_many,) * N_SECTIONS)] + [entry._replace(sections=(claims,))] * N_SECTIONS
    begun = time.process_time()
    ours = [outcome_of(delta, one) for one in flood]
    assert time.process_time() - begun < FLOOD_S
    assert [ours[0]["code"], ours[1]["code"]] == ["bad-history", "malformed"]
    assert read_in_node(delta, flood, FLOOD_S) == ours
