"""A whole store is audited: real pipelines of any shape are clean, and what an actor signed otherwise names it, unless
that is about something else than what is kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from noise.cli.audit import audit_data
from noise.pipeline.audit import audit_store
from noise.protocol.auditor import AuditCounts, AuditFailed
from noise.protocol.envelope import Draft
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import parse_actor
from noise.protocol.signing import Signed
from noise.store.base import BundleRow, StatementRow, StoreCorrupt
from tests.pipeline.lying_store import LyingStore, signed_otherwise
from tests.provider import Device, Provider, recipients_of, running_provider

SHAPES = (("parallel", 2, 2), ("parallel", 1, 3), ("central", 1, 1), ("parallel", 3, 2))


async def converse(provider: Provider, devices: Sequence[Device]) -> None:
    """Every device writes to all of them, with ciphertexts of their own, and to itself."""
    for device in devices:
        all_of_us = recipients_of(*[one.device_id for one in devices])
        own = tuple(bytes([n]) * 40 for n in range(len(all_of_us.device_ids)))
        alone = recipients_of(device.device_id)
        drafts = [Draft(all_of_us, b"hello", own, 1), Draft(alone, b"a note", (), 2)]
        await provider.submit(device.bundle(provider.origin, drafts))


async def audit(provider: Provider, store: Any = None) -> AuditCounts:
    gateway = provider.gateway
    rosters = [Signed(*signed) for signed in gateway.rosters]
    return await audit_store(store or gateway.store, provider.origin, rosters, gateway.store.next_epoch, lambda _: None)


async def test_a_provider_that_changed_its_shape_is_clean(tmp_path: Path) -> None:
    devices = [Device(name) for name in ("alice", "bob", "carol", "dave")]
    with trio.fail_after(20):
        for topology, inboxes, outboxes in SHAPES:
            shape: dict[str, Any] = {"topology": topology, "inboxes": inboxes, "outboxes": outboxes}
            async with running_provider(tmp_path / "p", **shape) as provider:
                await converse(provider, devices)
                counts = await audit(provider)
                size = provider.log_size
        done: list[tuple[int, int]] = []
        assert await audit_data(tmp_path / "p", None, lambda *progress: done.append(progress)) == counts
        assert done == [(n, size) for n in range(1, size + 1)]
        assert (counts.epochs, counts.messages) == (size, 4 * 4 * 2)
        assert counts.deliveries == 4 * 4 * 5
        assert (await audit_data(tmp_path / "p", 3, lambda *_: None)).epochs == 3


@pytest.mark.parametrize(
    ("actor", "field", "named"),
    [
        ("inbox-0-1", "previous", "inbox-0-1"),
        ("inbox-0-1", "root", "provider"),
        ("router-0-0", "root", "router-0-0"),
        ("receiver-0-1", "root", "receiver-0-1"),
        ("outbox-0-0", "map_root", "outbox-0-0"),
    ],
)
async def test_what_was_signed_otherwise_names_its_signer(tmp_path: Path, actor: str, field: str, named: str) -> None:
    with trio.fail_after(20):
        async with running_provider(tmp_path / "p", inboxes=2, outboxes=2) as provider:
            await converse(provider, [Device("alice"), Device("bob")])
            epoch = provider.log_size - 1
            change = signed_otherwise(tmp_path / "p" / "keys", provider.origin, actor, epoch, **{field: bytes(32)})
            with pytest.raises(AuditFailed) as caught:
                await audit(provider, LyingStore(provider.gateway.store, statement=change))
    assert (caught.value.actor, caught.value.epoch) == (named, epoch)
    assert field in caught.value.detail


@pytest.mark.parametrize("actor", ["inbox-0-1", "router-0-0", "receiver-0-1", "outbox-0-0", "sequencer-0-0"])
async def test_a_damaged_signature_names_no_actor(tmp_path: Path, actor: str) -> None:
    def change(row: StatementRow) -> StatementRow:
        is_hit = str(parse_actor(row.actor)) == actor and row.epoch == 0
        return row._replace(signature=bytes(64)) if is_hit else row

    with trio.fail_after(20):
        async with running_provider(tmp_path / "p", inboxes=2, outboxes=2) as provider:
            await converse(provider, [Device("alice"), Device("bob")])
            with pytest.raises(AuditFailed) as caught:
                await audit(provider, LyingStore(provider.gateway.store, statement=change))
    assert (caught.value.actor, caught.value.epoch) == ("provider", 0)
    assert actor in caught.value.detail


async def test_a_bundle_that_its_sender_did_not_sign_names_no_actor(tmp_path: Path) -> None:
    """No actor signs the senders' signatures."""

    def change(row: BundleRow) -> BundleRow:
        """The signature, after origin, key and counter; no leaf commits to it."""
        at = 32 + 32 + 8
        return row._replace(body=row.body[:at] + bytes([row.body[at] ^ 1]) + row.body[at + 1 :])

    with trio.fail_after(20):
        async with running_provider(tmp_path / "p") as provider:
            await converse(provider, [Device("alice")])
            with pytest.raises(AuditFailed) as caught:
                await audit(provider, LyingStore(provider.gateway.store, bundle=change))
    assert caught.value.actor == "provider"
    assert "a bundle of inbox-0-0 that its sender did not sign" in caught.value.detail


async def test_what_cannot_be_read_convicts_nobody(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with running_provider(tmp_path / "p") as provider:
            await converse(provider, [Device("alice")])
            torn = LyingStore(provider.gateway.store, bundle=lambda row: row._replace(body=row.body[:-1]))
            with pytest.raises(StoreCorrupt):
                await audit(provider, torn)
            with pytest.raises(NoiseError, match="open already"):
                await audit_data(tmp_path / "p", None, lambda *_: None)
