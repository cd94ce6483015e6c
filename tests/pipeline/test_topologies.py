"""One seeded workload, every topology: the same content for every client, the same order for every pair of clients."""

from itertools import combinations
from pathlib import Path

import pytest
import trio

from noise.protocol.frames import Receipt
from noise.protocol.identifiers import parse_seq
from tests.pipeline.harness import Answers, Mailbox, options, running, signer, workload

DEVICES = 8
SHAPES = [("central", None, None), ("multithreaded", 2, 3), ("parallel", 1, 1), ("parallel", 3, 2)]


@pytest.mark.parametrize(("topology", "inboxes", "outboxes"), SHAPES)
@pytest.mark.parametrize("seed", range(3))
async def test_same_content_and_one_order(
    tmp_path: Path, topology: str, inboxes: int | None, outboxes: int | None, seed: int
) -> None:
    with trio.fail_after(30):
        async with running(options(tmp_path / "data", topology, inboxes, outboxes)) as node:
            bundles = workload(node.origin, seed, DEVICES)
            answers = Answers()
            for n, bundle in enumerate(bundles):
                await answers.submit(node, n, bundle.encode())
            await answers.wait_shown(node, len(bundles))
            mailboxes = [Mailbox(node.origin, signer(n + 1)) for n in range(DEVICES)]
            for mailbox in mailboxes:
                await mailbox.catch_up(node)
            for n, bundle in enumerate(bundles):
                receipt = answers[n][0]
                assert isinstance(receipt, Receipt)
                mailboxes[0].follower.check_receipt(receipt, bundle)
    expected: dict[bytes, dict[tuple[bytes, int], tuple[bytes, bytes]]] = {m.device_id: {} for m in mailboxes}
    for bundle in bundles:
        for i, row in enumerate(bundle.rows):
            recipients, column = bundle.recipients[row.set_index], bundle.ciphertext_columns[i]
            size = row.ciphertext_len
            for place, device_id in enumerate(recipients.device_ids):
                own = column[place * size : (place + 1) * size]
                expected[device_id][bundle.sender, bundle.first_ctr + i] = (bundle.commons[i], own)
    for mailbox in mailboxes:
        got = {(d.sender, d.sender_ctr): (d.common, d.ciphertext) for d in mailbox.deliveries}
        assert len(got) == len(mailbox.deliveries)
        assert got == expected[mailbox.device_id]
    for one, other in combinations(mailboxes, 2):
        shared = {d.seq for d in one.deliveries} & {d.seq for d in other.deliveries}
        assert [d.leaf for d in one.deliveries if d.seq in shared] == [
            d.leaf for d in other.deliveries if d.seq in shared
        ]
        mutual = [d for d in one.deliveries if other.device_id in d.recipients.device_ids]
        assert [d.seq for d in mutual] == [d.seq for d in other.deliveries if d.seq in {m.seq for m in mutual}]
    if topology == "central":
        epochs = [parse_seq(answers[n][0].first_seq)[0] for n in range(len(bundles))]
        assert len(set(epochs)) == len(bundles), "central runs an epoch for each bundle"


async def test_shapes_change_from_run_to_run(tmp_path: Path) -> None:
    """More lanes, fewer outboxes, and back: one history for each mailbox, one log, and fsck finds nothing."""
    seen: dict[int, int] = {}
    mailboxes: list[Mailbox] = []
    with trio.fail_after(60):
        for run, (topology, inboxes, outboxes) in enumerate([*SHAPES, ("parallel", 1, 4), ("parallel", 4, 1)]):
            async with running(options(tmp_path / "data", topology, inboxes, outboxes)) as node:
                mailboxes = mailboxes or [Mailbox(node.origin, signer(n + 1)) for n in range(DEVICES)]
                bundles = workload(node.origin, 7, DEVICES)
                answers = Answers()
                part = bundles[run * 6 : run * 6 + 6]
                for n, bundle in enumerate(part):
                    await answers.submit(node, n, bundle.encode())
                await answers.wait_shown(node, len(part))
                for number, mailbox in enumerate(mailboxes):
                    await mailbox.catch_up(node)
                    seqs = [d.seq for d in mailbox.deliveries]
                    assert seqs == sorted(set(seqs))
                    assert len(seqs) >= seen.get(number, 0)
                    seen[number] = len(seqs)
    total = sum(len(r.device_ids) for b in bundles[:36] for r in [b.recipients[row.set_index] for row in b.rows])
    assert sum(seen.values()) == total
