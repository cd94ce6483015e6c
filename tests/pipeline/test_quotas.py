"""What one bundle, one ack or one delta may ask of others, each attack with the refusal that stops it."""

import os
from pathlib import Path

import pytest
import trio

from noise.pipeline.acks import AckTable
from noise.protocol.delta import DELTA, HISTORY_ENTRY, HistoryEntry
from noise.protocol.encoding import list_of
from noise.protocol.envelope import (
    BUNDLE_WIRE,
    BundleWire,
    Draft,
    EnvelopeRow,
    Recipients,
    RecipientSet,
    build_bundle,
    open_bundle,
)
from noise.protocol.errors import DecodeError, NoiseError, Rejected
from noise.protocol.frames import ACK_BODY, AckBody, AckFrame, Receipt, parse_frame
from noise.protocol.identifiers import device_id_of
from noise.protocol.limits import BUNDLE_CIPHERTEXTS_MAX, BUNDLE_RECIPIENT_IDS_MAX, PAGE_RECORDS_MAX, ROSTERS_MAX
from tests.pipeline.harness import Answers, Mailbox, ServerSide, options, running, signer

ORIGIN = bytes(32)
ALICE = signer(1)
ALICE_ID = device_id_of(ALICE.public_key)


def _crowd(size: int) -> RecipientSet:
    return RecipientSet(os.urandom(16), tuple(sorted([ALICE_ID, *(os.urandom(32) for _ in range(size - 1))])))


def _unsigned(sets: tuple[RecipientSet, ...], rows: tuple[EnvelopeRow, ...], ciphertexts: bytes) -> bytes:
    wire = BundleWire(ORIGIN, ALICE.public_key, 0, bytes(64), sets, rows, b"", ciphertexts)
    return BUNDLE_WIRE.encode(wire)


def _refused_before_hashing(data: bytes) -> str:
    """The code of the refusal, when it came before anything was computed for a recipient set."""

    def too_late(_: RecipientSet) -> Recipients:
        raise AssertionError("hashed before it was refused")

    with pytest.raises(Rejected) as refused:
        open_bundle(data, ORIGIN, too_late)
    return refused.value.code


def test_a_bundle_of_many_small_ciphertexts() -> None:
    """300 KB of one-byte ciphertexts kept everybody waiting for seconds."""
    crowd = _crowd(1024)
    count = BUNDLE_CIPHERTEXTS_MAX // 1024 + 1
    rows = tuple(EnvelopeRow(0, 0, 0, 1) for _ in range(count))
    assert _refused_before_hashing(_unsigned((crowd,), rows, bytes(count * 1024))) == "too-many-ciphertexts"
    draft = Draft(Recipients(crowd), b"", tuple(b"c" for _ in crowd.device_ids), 0)
    with pytest.raises(Rejected) as refused:
        build_bundle(ALICE, ORIGIN, 0, [draft] * count)
    assert refused.value.code == "too-many-ciphertexts"


def test_a_bundle_of_many_recipient_sets() -> None:
    """Each id costs hashes before the signature is looked at, and may make a mailbox."""
    sets = tuple(_crowd(1024) for _ in range(BUNDLE_RECIPIENT_IDS_MAX // 1024 + 1))
    rows = tuple(EnvelopeRow(place, 0, 0, 0) for place in range(len(sets)))
    assert _refused_before_hashing(_unsigned(sets, rows, b"")) == "too-many-recipients"


async def test_no_more_mailboxes_than_the_operator_allows(tmp_path: Path) -> None:
    """Those that exist go on; only new ones are refused, and a bundle that was accepted keeps its receipt."""
    with trio.fail_after(30):
        async with running(options(tmp_path / "data")._replace(mailboxes_max=2)) as node:
            answers = Answers()
            known = Recipients(RecipientSet(bytes(16), tuple(sorted([ALICE_ID, bytes(32)]))))
            crowded = Recipients(_crowd(3))
            first = build_bundle(ALICE, node.origin, 0, [Draft(known, b"one", (), 0)]).encode()
            await answers.submit(node, 0, first)
            await answers.wait_shown(node, 1)
            await answers.submit(node, 1, build_bundle(ALICE, node.origin, 1, [Draft(crowded, b"x", (), 0)]).encode())
            await answers.submit(node, 2, build_bundle(ALICE, node.origin, 1, [Draft(known, b"two", (), 0)]).encode())
            await answers.submit(node, 0, first)
            await answers.wait_shown(node, 4)
            refusal = answers[1][0]
            assert isinstance(refusal, NoiseError) and refusal.code == "mailbox-quota"
            assert isinstance(answers[2][0], Receipt)
            assert answers[0][0] == answers[0][1]


def test_an_ack_of_what_was_never_pushed() -> None:
    table = AckTable()

    def ack(hist_next: int) -> AckFrame:
        body = ACK_BODY.encode(AckBody(ORIGIN, ALICE_ID, ALICE.public_key, 0, hist_next))
        return AckFrame(body, ALICE.sign("ack", ORIGIN, body).signature)

    with pytest.raises(Rejected) as refused:
        table.accept(ack(2**64 - 1), ORIGIN, ALICE_ID, 7)
    assert refused.value.code == "ack-ahead"
    table.accept(ack(7), ORIGIN, ALICE_ID, 7)
    newest = table.take_rows(1)[0]
    table.accept(ack(3), ORIGIN, ALICE_ID, 7)
    assert len(newest) == 1
    assert table.take_rows(2)[0] == [], "an older ack never replaces a newer one"


async def test_a_delta_of_millions_of_empty_entries(tmp_path: Path) -> None:
    """24 MiB of the smallest entries cost a client 2 GB and half a minute; now they are refused by their count."""
    with trio.fail_after(30):
        async with running(options(tmp_path / "data")) as node:
            mailbox = Mailbox(node.origin, ALICE)
            frame = parse_frame(await node.pipeline.fanout.catch_up(ServerSide(mailbox)))
    delta = frame.delta  # type: ignore[union-attr]
    empty = HistoryEntry(b"", ())
    for lists in ({"history": (empty,) * (PAGE_RECORDS_MAX + 1)}, {"rosters": delta.rosters * (ROSTERS_MAX + 1)}):
        with pytest.raises(DecodeError):
            DELTA.decode(DELTA.encode(delta._replace(**lists)))
    assert DELTA.decode(DELTA.encode(delta._replace(history=(empty,) * PAGE_RECORDS_MAX)))


def test_lists_are_bounded_in_both_faces() -> None:
    few = list_of(HISTORY_ENTRY, 2)
    many = (HistoryEntry(b"", ()),) * 3
    unbounded = list_of(HISTORY_ENTRY)
    with pytest.raises(DecodeError):
        few.decode(unbounded.encode(many))
    with pytest.raises(DecodeError):
        few.from_json(unbounded.to_json(many))
