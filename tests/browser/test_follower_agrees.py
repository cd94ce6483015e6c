"""The browser's follower and Python's believe the same deltas and receipts and refuse the same ones, word for word.

Knows nothing of which are honest. Whatever Python's own tests of lies tell a client, `follow.js` is told in Node, too;
and what those tests leave to chance.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from noise.protocol.delta import DELTA, Delta, RecipientLists
from noise.protocol.envelope import RECIPIENT_SET, Bundle, RecipientSet
from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.follower import Follower
from noise.protocol.frames import CURSOR, RECEIPT, Receipt
from noise.protocol.trust import encode_trusted
from tests.javascript import node
from tests.protocol import test_follower_lies, test_history_lies, test_receipts
from tests.protocol.mutations import Mutation, mutations
from tests.protocol.story import ALICE, BOB, DAVE, LAST, Client, story
from tests.protocol.structures import damaged
from tests.vectors.cast import ORIGIN

FOLLOW = Path(__file__).with_name("follow.js")
DAMAGES = 25


class Meeting(NamedTuple):
    """A line for `follow.js`, which is a client and what it meets, and what comes of it in Python."""

    line: dict[str, Any]
    outcome: dict[str, Any]


def describe(follower: Follower, counters: dict[bytes, int], lists: RecipientLists) -> dict[str, Any]:
    sets = [RecipientSet(known.env_salt, known.device_ids) for known in lists._lists.values()]
    return {
        "origin": follower.origin.hex(),
        "mailbox": follower.mailbox.hex(),
        "trusted": encode_trusted(follower.trusted).hex(),
        "counters": {sender.hex(): str(ctr) for sender, ctr in counters.items()},
        "sets": [RECIPIENT_SET.encode(one).hex() for one in sets],
    }


def refusal(error: NoiseError) -> dict[str, Any]:
    evidence = [part.hex() for part in error.evidence] if isinstance(error, ProviderMisbehaved) else None
    return {"code": error.code, "detail": error.detail, "evidence": evidence}


def meet(client: Client, encoded: bytes) -> Meeting:
    """A client meets an encoded delta, and is none the wiser."""
    line = {"client": describe(client.follower, client.counters, client.lists), "delta": encoded.hex()}
    try:
        step = client.follower.check_delta(DELTA.decode(encoded), client.lists)
    except NoiseError as error:
        return Meeting(line, refusal(error))
    after = Follower(ORIGIN, client.follower.mailbox, step.trusted, last_counter=client.counters.get)
    outcome = {
        "trusted": encode_trusted(step.trusted).hex(),
        "cursor": CURSOR.to_json(after.cursor),
        "epoch": str(step.epoch),
        "time_ms": str(step.time_ms),
        "counters": {sender.hex(): str(ctr) for sender, ctr in step.counters.items()},
        "deliveries": [
            [
                *(part.hex() for part in (d.seq, d.sender, d.common, d.ciphertext, d.recipients.root, d.leaf)),
                *(str(d.sender_ctr), str(d.created_ms)),
            ]
            for d in step.deliveries
        ],
    }
    return Meeting(line, outcome)


def calls_in(module: ModuleType) -> Iterator[Callable[[], None]]:
    """Every test of a module, with each of its parameters."""
    for name, test in vars(module).items():
        if not name.startswith("test_"):
            continue
        marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
        choices = [[(mark.args[0], value) for value in mark.args[1]] for mark in marks]
        for chosen in product(*choices):
            yield lambda test=test, chosen=chosen: test(**dict(chosen))


def with_bad_signature(delta: Delta, *, of_head: bool) -> Delta:
    """Of two faults the first is told, though a browser checks signatures while it goes on."""
    shared = delta.shared
    if of_head:
        return delta._replace(shared=shared._replace(head=shared.head._replace(signature=shared.head.signature[::-1])))
    other = b"A" if shared.note[-9:-8] != b"A" else b"B"
    return delta._replace(shared=shared._replace(note=shared.note[:-9] + other + shared.note[-8:]))


def told_in_tests(monkeypatch: pytest.MonkeyPatch) -> list[Meeting]:
    """All that the tests of lies tell their clients, the truth after each lie too; and each with one more fault."""
    spoiled: list[Meeting] = []
    met: dict[tuple[bytes, bytes, bytes], Meeting] = {}
    take = Client.take

    def record(client: Client, delta: Delta) -> None:
        encoded = DELTA.encode(delta)
        key = (client.follower.mailbox, encode_trusted(client.follower.trusted), encoded)
        if key not in met:
            met[key] = meet(client, encoded)
            spoiled.append(meet(client, DELTA.encode(with_bad_signature(delta, of_head=len(met) % 2 == 0))))
        take(client, delta)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "take", record)
        for call in [*calls_in(test_follower_lies), *calls_in(test_history_lies)]:
            call()
    return [*met.values(), *spoiled]


def receipts_in_tests(monkeypatch: pytest.MonkeyPatch) -> list[Meeting]:
    """All receipts that their tests open, honest or not."""
    met: list[Meeting] = []
    check_receipt = Follower.check_receipt

    def record(follower: Follower, receipt: Receipt, bundle: Bundle) -> list[bytes]:
        encoded = {"receipt": RECEIPT.encode(receipt).hex(), "bundle": bundle.encode().hex()}
        line = {"client": describe(follower, {}, RecipientLists())} | encoded
        try:
            seqs = check_receipt(follower, receipt, bundle)
        except NoiseError as error:
            met.append(Meeting(line, refusal(error)))
            raise
        met.append(Meeting(line, {"seqs": [seq.hex() for seq in seqs]}))
        return seqs

    with monkeypatch.context() as patch:
        patch.setattr(Follower, "check_receipt", record)
        for call in calls_in(test_receipts):
            call()
    return met


def true_deltas() -> Iterator[Meeting]:
    """Of every epoch, after any other, whole and in pages."""
    for mailbox, n_epochs in product((ALICE, BOB, DAVE), range(LAST + 2)):
        client = Client(story(), n_epochs, mailbox)
        for number, records_max in product(range(max(n_epochs - 1, 0), LAST + 1), (None, 2, 1)):
            delta = story().delta(mailbox, client.follower.cursor, number=number, records_max=records_max)
            yield meet(client, DELTA.encode(delta))


def changed_deltas() -> Iterator[Meeting]:
    """Every place of some deltas, changed in some way; and their bytes, damaged."""
    random = Random("the browser agrees")
    others = [story().delta(mailbox, number=number) for mailbox in (ALICE, BOB, DAVE) for number in (1, LAST)]
    clients = ((BOB, 0, 1), (BOB, LAST, None), (BOB, LAST + 1, None), (ALICE, 3, 1), (DAVE, 2, None))
    for mailbox, n_epochs, records_max in clients:
        client = Client(story(), n_epochs, mailbox)
        delta = story().delta(mailbox, client.follower.cursor, records_max=records_max)
        by_place: dict[str, list[Mutation]] = {}
        for mutation in mutations(DELTA, delta, others):
            by_place.setdefault(mutation.place, []).append(mutation)
        for ways in by_place.values():
            yield meet(client, DELTA.encode(random.choice(ways).value))
        for _ in range(DAMAGES):
            yield meet(client, damaged(DELTA.encode(delta), random))


def compare(meetings: list[Meeting]) -> Counter[str]:
    """Fails unless Node says the same of all of them. How many ended how."""
    lines = "\n".join(json.dumps(meeting.line) for meeting in meetings)
    ran = subprocess.run([node(), str(FOLLOW)], input=lines, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    for meeting, outcome in zip(meetings, ran.stdout.splitlines(), strict=True):
        assert json.loads(outcome) == meeting.outcome, meeting.line
    return Counter(meeting.outcome.get("code", "believed") for meeting in meetings)


def test_deltas(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = compare([*told_in_tests(monkeypatch), *true_deltas(), *changed_deltas()])
    assert codes["believed"] > 100
    assert len(codes) > 25, codes


def test_receipts_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = compare(receipts_in_tests(monkeypatch))
    assert codes["believed"] > 10
    assert len(codes) > 6, codes
