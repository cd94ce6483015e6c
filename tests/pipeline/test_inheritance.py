"""An outbox that takes over mailboxes from a liar: it does not, for what it signs would be its own lie.

Knows nothing of proofs. The liar is the real outbox with another rule in the place of one of its own; whoever comes
after it is honest.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from noise.node import check_node, create_node, open_node, open_state
from noise.pipeline import outbox
from noise.pipeline.inheritance import check_inheritance
from noise.pipeline.outbox import Pick, encode_picks
from noise.pipeline.recovery import load_histories
from noise.protocol.envelope import Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.history import HISTORY_RECORD, History, apply_record, new_history, next_record
from noise.protocol.identifiers import NO_EPOCH, device_id_of, make_seq
from noise.protocol.merkle import EMPTY_ROOT
from noise.protocol.signing import Signer
from noise.renewal import recover, rotate
from noise.store.base import HistoryRow, StoreCorrupt
from tests.pipeline.harness import Answers, options, running, signer

ALICE, BOB = signer(1), signer(2)
BOBS = device_id_of(BOB.public_key)
SHAPE = (1, 2)
NEXT_EPOCH = 9
FUTURE = 1000
REFUSED = "^no outbox takes these mailboxes over"

Rule = Callable[..., Any]


async def talk(data: Path, ctr: int, recipients: Sequence[Signer] = (ALICE, BOB)) -> None:
    """Alice writes a message; nobody checks anything."""
    members = Recipients(RecipientSet(bytes(16), tuple(sorted(device_id_of(one.public_key) for one in recipients))))
    with trio.fail_after(20):
        async with running(options(data, "parallel", *SHAPE)) as node:
            answers = Answers()
            bundle = build_bundle(ALICE, node.origin, ctr, [Draft(members, b"hi", (), 0)])
            await answers.submit(node, 0, bundle.encode())
            await answers.wait_shown(node, 1)


async def reshape(data: Path) -> None:
    async with open_node(options(data, "parallel", 1, 3)):
        pass


async def rotate_an_outbox(data: Path) -> None:
    await rotate(data, ["outbox-0-1"])


async def recover_an_outbox(data: Path) -> None:
    await recover(data, ["outbox-0-0"])


PATHS = [reshape, rotate_an_outbox, recover_an_outbox]


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    await create_node(tmp_path / "data")
    return tmp_path / "data"


async def roster_version(data: Path) -> int:
    async with open_state(data) as state:
        return state.roster.version


def of_an_epoch_to_come(rule: Rule) -> Rule:
    """Bob's first record is."""

    def lying(history: History, *arguments: Any) -> Any:
        record = rule(history, *arguments)
        return record._replace(epoch=FUTURE) if history.state.mailbox == BOBS else record

    return lying


@pytest.mark.parametrize("take_over", PATHS)
async def test_nobody_takes_over_a_lie(
    data: Path, monkeypatch: pytest.MonkeyPatch, take_over: Callable[[Path], Any]
) -> None:
    """When that epoch came, an honest outbox would sign that it delivered what nobody gave to it.

    Nothing changes: those who kept it may go on.
    """
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "next_record", of_an_epoch_to_come(next_record))
        await talk(data, 1)
    version = await roster_version(data)
    with pytest.raises(StoreCorrupt, match=REFUSED):
        await take_over(data)
    assert await roster_version(data) == version
    await rotate(data, ["router-0-0"])
    await talk(data, 2, [ALICE])


@pytest.mark.parametrize("take_over", PATHS)
async def test_what_was_built_by_the_rules_is_taken_over(data: Path, take_over: Callable[[Path], Any]) -> None:
    await talk(data, 1)
    await talk(data, 2)
    version = await roster_version(data)
    await take_over(data)
    assert await roster_version(data) == version + 1
    await talk(data, 3)
    await check_node(data, lambda done, total: None, renew_mark=False)


class Kept(NamedTuple):
    """All of a store that is asked."""

    rows: list[HistoryRow]
    next_epoch: int = NEXT_EPOCH

    async def history_since(self, epoch: int, after: tuple[int, bytes] | None = None) -> list[HistoryRow]:
        await trio.lowlevel.checkpoint()
        return [row for row in self.rows if row.epoch >= epoch and (after is None or (row.epoch, row.mailbox) > after)]


def keep(
    epochs: tuple[int, ...], lie_at: int = -1, last_seq: bytes | None = None, **fields: Any
) -> tuple[Kept, dict[bytes, History]]:
    """Bob's records, that number `lie_at` with another last seq or other fields; the history that they lead to."""
    history, rows = new_history(BOBS, epochs[0]), []
    parts: Any = [Pick(0, 0, ())]
    for number, epoch in enumerate(epochs):
        seq, record = make_seq(epoch, 0, 0), next_record(history, epoch, 1, bytes(32), (0, EMPTY_ROOT))
        if number == lie_at:
            seq, record = last_seq or seq, record._replace(**fields)
        encoded = HISTORY_RECORD.encode(record)
        rows.append(HistoryRow(BOBS, epoch, -1, encoded, encode_picks(seq, encoded, parts)))
        history = apply_record(history, record, encoded, seq)
    return Kept(rows), {BOBS: history}


async def check(kept: Kept, histories: dict[bytes, History]) -> None:
    store: Any = kept
    await check_inheritance(store, histories)


async def test_records_by_the_rules() -> None:
    for epochs in ((0,), (0, 1), (2, 5, NEXT_EPOCH - 1)):
        await check(*keep(epochs))


@pytest.mark.parametrize("lie_at", [0, 1, 2])
@pytest.mark.parametrize(
    "lie",
    [
        {"epoch": FUTURE},
        {"epoch": 3},
        {"n_messages": 0},
        {"prev_epoch": 1},
        {"prev_epoch": NO_EPOCH - 1},
        {"prev_root": bytes(32)},
        {"k": 7},
        {"mailbox": bytes(32)},
        {"last_seq": make_seq(FUTURE, 0, 0)},
        {"last_seq": make_seq(1, 0, 0)},
    ],
    ids=str,
)
async def test_every_rule_of_a_record(lie_at: int, lie: dict[str, Any]) -> None:
    """A history that goes on from the lie as if it were none."""
    with pytest.raises(StoreCorrupt, match=f"{REFUSED}.* does not continue"):
        await check(*keep((2, 5, 8), lie_at, **lie))


@pytest.mark.parametrize("epochs", [(2, NEXT_EPOCH), (FUTURE,), (2, 2), (5, 2)])
async def test_epochs_rise_and_are_over(epochs: tuple[int, ...]) -> None:
    with pytest.raises(StoreCorrupt, match=f"{REFUSED}.* does not continue"):
        await check(*keep(epochs))


async def test_states_are_those_that_the_records_lead_to(data: Path) -> None:
    """No field is another, no mailbox is missing, and there is none in which nothing arrived."""
    await talk(data, 1)
    async with open_state(data) as state:
        histories, _ = await load_histories(state.store)
        await check_inheritance(state.store, histories)
        bobs = histories[BOBS]
        fields = ("gen", "since_epoch", "hist_size", "last_epoch", "total")
        wrong = [bobs._replace(state=bobs.state._replace(**{f: getattr(bobs.state, f) + 1})) for f in fields]
        wrong.append(bobs._replace(records=bobs.records.append(bytes(32))))
        for found in (*[histories | {BOBS: one} for one in wrong], {}, {BOBS: bobs}, histories | {bytes(32): bobs}):
            with pytest.raises(StoreCorrupt, match=f"{REFUSED}.*the states of mailboxes"):
                await check_inheritance(state.store, found)
