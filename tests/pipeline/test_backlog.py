"""A client that was away for very long pages through its history without the provider walking it again and again."""

from pathlib import Path

import pytest
import trio

from noise.pipeline import backlog, catchup
from noise.protocol.envelope import Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.history import map_key_of
from tests.pipeline.harness import Answers, Mailbox, options, running, signer

EPOCHS = 700


async def test_thousands_of_records_in_small_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 7 records over blocks of 4, while the mailbox grows; every page verifies."""
    monkeypatch.setattr(catchup, "PAGE_RECORDS_MAX", 7)
    monkeypatch.setattr(backlog, "BLOCK_LEVEL", 2)
    monkeypatch.setattr(backlog, "_BLOCK_SIZE", 4)
    with trio.fail_after(60):
        async with running(options(tmp_path / "data", "central")) as node:
            walks: list[int] = []
            walk = node.store.history_epochs

            async def counted(mailbox: bytes, last_epoch: int, after_epoch: int) -> object:
                found = await walk(mailbox, last_epoch, after_epoch)
                walks.append(len(found))
                return found

            monkeypatch.setattr(node.store, "history_epochs", counted)
            reader, sender = Mailbox(node.origin, signer(1)), signer(2)
            members = Recipients(
                RecipientSet(bytes(16), tuple(sorted([reader.device_id, Mailbox(node.origin, sender).device_id])))
            )
            answers = Answers()
            for n in range(EPOCHS):
                bundle = build_bundle(sender, node.origin, n, [Draft(members, b"%d" % n, (), 0)])
                await answers.submit(node, n, bundle.encode())
            await answers.wait_shown(node, EPOCHS)
            frames = await reader.catch_up(node)
            assert frames == EPOCHS // 7
            assert walks == [EPOCHS], "one walk, not one for each page"
            again = Mailbox(node.origin, signer(1))
            for n in range(3):
                bundle = build_bundle(sender, node.origin, EPOCHS + n, [Draft(members, b"%d" % (EPOCHS + n), (), 0)])
                await answers.submit(node, EPOCHS + n, bundle.encode())
            await answers.wait_shown(node, EPOCHS + 3)
            await again.catch_up(node)
            await reader.catch_up(node)
            assert walks == [EPOCHS, 3], "and then only what came since"
    for mailbox in (reader, again):
        assert [d.common for d in mailbox.deliveries] == [b"%d" % n for n in range(EPOCHS + 3)]


async def test_backlogs_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "RECORDS_REMEMBERED_MAX", 5)
    with trio.fail_after(30):
        async with running(options(tmp_path / "data", "central")) as node:
            readers = [Mailbox(node.origin, signer(n + 1)) for n in range(4)]
            ids = tuple(sorted(reader.device_id for reader in readers))
            members, answers = Recipients(RecipientSet(bytes(16), ids)), Answers()
            for n in range(4):
                bundle = build_bundle(readers[0].signer, node.origin, n, [Draft(members, b"x", (), 0)])
                await answers.submit(node, n, bundle.encode())
            await answers.wait_shown(node, 4)
            backlogs = backlog.Backlogs(node.store)
            view = node.pipeline.fanout.view
            assert view is not None
            for reader in readers:
                history = view.outboxes[0].states.get(map_key_of(reader.device_id))
                assert history is not None
                await backlogs.get(history.state, reader.cursor)
            assert len(backlogs._known) == 1
