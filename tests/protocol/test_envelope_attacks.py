"""What a provider, or a device, might do to a bundle: nothing opens as another."""

from itertools import pairwise
from random import Random

import pytest

from noise.protocol.envelope import BUNDLE_WIRE, BundleWire, RecipientSet, open_bundle
from noise.protocol.errors import DecodeError, NoiseError, Rejected, SignatureError
from tests.protocol.forgery import forge, sorted_set
from tests.protocol.structures import damaged
from tests.vectors import golden
from tests.vectors.cast import ORIGIN, bundle_of, device_of, draft_of, mixed_bundle, recipients_of
from tests.vectors.make_envelope import altered, refused_bundles

US, ALL = recipients_of("alice", "bob"), recipients_of("alice", "bob", "carol")


def check_refused(data: bytes) -> None:
    with pytest.raises((DecodeError, Rejected, SignatureError)):
        open_bundle(data, ORIGIN)


def wire_of(*drafts: tuple[bytes, int], first_ctr: int = 1) -> BundleWire:
    """Messages to alice, bob and carol: (common, ciphertext_len)."""
    bundle = bundle_of("alice", [draft_of(ALL, common, size) for common, size in drafts], first_ctr)
    return BUNDLE_WIRE.decode(bundle.encode())


def test_every_flipped_bit_is_refused() -> None:
    data = bundle_of("alice", [draft_of(US, b"one", 2), draft_of(ALL, b"two")]).encode()
    assert open_bundle(data, ORIGIN).count == 2
    for bit in range(8 * len(data)):
        at = bit // 8
        check_refused(data[:at] + bytes([data[at] ^ 1 << bit % 8]) + data[at + 1 :])


def test_accidents_are_refused(search_factor: int) -> None:
    data = mixed_bundle().encode()
    random = Random(1)
    for _ in range(1000 * search_factor):
        changed = damaged(data, random)
        if changed != data:
            check_refused(changed)


@pytest.mark.parametrize(("why", "wire"), refused_bundles(), ids=lambda value: value if isinstance(value, str) else "")
def test_stored_refusals(why: str, wire: BundleWire) -> None:
    case = next(case for case in golden.read("envelope.json")["refused"] if case["why"] == why)
    with pytest.raises(NoiseError) as refused:
        open_bundle(BUNDLE_WIRE.encode(wire), ORIGIN)
    assert refused.value.code == case["code"]


def test_altered_bundles_keep_their_lengths_where_they_can() -> None:
    """Else the refusals above would show that lengths are checked, and nothing about contents."""
    sizes = [len(BUNDLE_WIRE.encode(wire)) for why, wire in altered() if "moved" in why or "swapped" in why]
    assert len(set(sizes)) == 1
    assert len(sizes) == 5


def test_columns_may_not_shift() -> None:
    """Every other way to cut the joined ciphertexts, among rows and between the columns, leads elsewhere."""
    wire = wire_of((b"abc", 4), (b"defg", 2), (b"", 3))
    assert open_bundle(BUNDLE_WIRE.encode(wire), ORIGIN).count == 3
    rows = wire.rows
    commons = [
        (a, b, 7 - a - b) for a in range(8) for b in range(8 - a) if (a, b, 7 - a - b) != (3, 4, 0)
    ]  # all ways to make 7 of three
    sizes = [(a, b, 9 - a - b) for a in range(10) for b in range(10 - a) if (a, b, 9 - a - b) != (4, 2, 3)]
    for lengths in commons:
        moved = tuple(row._replace(common_len=n) for row, n in zip(rows, lengths, strict=True))
        check_refused(BUNDLE_WIRE.encode(wire._replace(rows=moved)))
    for lengths in sizes:
        moved = tuple(row._replace(ciphertext_len=n) for row, n in zip(rows, lengths, strict=True))
        check_refused(BUNDLE_WIRE.encode(wire._replace(rows=moved)))
    joined = wire.commons + wire.ciphertexts
    for at in range(len(joined) + 1):
        if at != len(wire.commons):
            check_refused(BUNDLE_WIRE.encode(wire._replace(commons=joined[:at], ciphertexts=joined[at:])))


def test_messages_may_not_change_places() -> None:
    """Equal shapes: only hashes can tell."""
    wire = wire_of((b"abc", 4), (b"def", 4))
    half = len(wire.ciphertexts) // 2
    swapped = wire.ciphertexts[half:] + wire.ciphertexts[:half]
    for changed in (
        wire._replace(commons=b"defabc", ciphertexts=swapped),
        wire._replace(commons=b"defabc"),
        wire._replace(ciphertexts=swapped),
        wire._replace(first_ctr=2),
        wire._replace(rows=wire.rows[:1], commons=b"abc", ciphertexts=wire.ciphertexts[:half]),
        wire._replace(first_ctr=2, rows=wire.rows[:1], commons=b"def", ciphertexts=wire.ciphertexts[half:]),
        wire._replace(rows=wire.rows * 2, commons=wire.commons * 2, ciphertexts=wire.ciphertexts * 2),
    ):
        check_refused(BUNDLE_WIRE.encode(changed))


def test_ciphertexts_may_not_change_recipients() -> None:
    wire = wire_of((b"abc", 4))
    parts = [wire.ciphertexts[i : i + 4] for i in (0, 4, 8)]
    assert len(set(parts)) == 3
    for order in ((1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0), (0, 0, 2)):
        check_refused(BUNDLE_WIRE.encode(wire._replace(ciphertexts=b"".join(parts[i] for i in order))))
    check_refused(BUNDLE_WIRE.encode(wire._replace(ciphertexts=b"", rows=(wire.rows[0]._replace(ciphertext_len=0),))))


def test_recipients_may_not_move_between_sets() -> None:
    """The same ids in the same order over all sets, cut elsewhere, or exchanged."""
    drafts = [draft_of(recipients_of("alice", "bob", "carol", salt="one"), b"x")]
    drafts.append(draft_of(recipients_of("alice", "dave", "erin", salt="two"), b"y"))
    wire = BUNDLE_WIRE.decode(bundle_of("alice", drafts).encode())
    first, second = wire.sets
    everybody = sorted({*first.device_ids, *second.device_ids} - {device_of("alice")})
    for chosen in range(1, 15):
        left = [i for n, i in enumerate(everybody) if chosen >> n & 1]
        ids = [tuple(sorted([device_of("alice"), *part])) for part in (left, set(everybody) - set(left))]
        if set(ids) != {first.device_ids, second.device_ids}:
            sets = (RecipientSet(first.env_salt, ids[0]), RecipientSet(second.env_salt, ids[1]))
            check_refused(BUNDLE_WIRE.encode(wire._replace(sets=sets)))
    exchanged = (RecipientSet(first.env_salt, second.device_ids), RecipientSet(second.env_salt, first.device_ids))
    for sets in (exchanged, (second, first)):
        check_refused(BUNDLE_WIRE.encode(wire._replace(sets=sets)))


def test_salts_and_ids_are_framed() -> None:
    """A longer salt and a shorter id, joined, are the same bytes: the encoding has no room for the difference."""
    wire = wire_of((b"x", 0))
    data = BUNDLE_WIRE.encode(wire)
    at = data.index(wire.sets[0].env_salt)
    for length in (2, 4, 2**32 - 1, 0):
        check_refused(data[: at + 16] + length.to_bytes(4, "big") + data[at + 20 :])


def test_one_bundle_has_one_encoding() -> None:
    """A set told twice, or in another order, or never used, would be another body for the same signature."""
    twice = forge([sorted_set("alice", "bob")] * 2, [(0, b"x"), (1, b"y")])
    once = forge([sorted_set("alice", "bob")], [(0, b"x"), (0, b"y")])
    assert twice.signature == once.signature
    check_refused(BUNDLE_WIRE.encode(twice))
    assert open_bundle(BUNDLE_WIRE.encode(once), ORIGIN).count == 2
    back = forge([sorted_set("alice"), sorted_set("alice", "bob")], [(1, b"x"), (0, b"y")])
    forth = forge([sorted_set("alice", "bob"), sorted_set("alice")], [(0, b"x"), (1, b"y")])
    assert back.signature == forth.signature
    check_refused(BUNDLE_WIRE.encode(back))
    assert open_bundle(BUNDLE_WIRE.encode(forth), ORIGIN).count == 2


def test_sender_and_counter_make_every_message_unique() -> None:
    """The same content, twice in one bundle, in two bundles, and by two devices: never one env_hash."""
    both = recipients_of("alice", "bob")
    bundles = [
        bundle_of("alice", [draft_of(both, b"x")] * 2),
        bundle_of("alice", [draft_of(both, b"x")], first_ctr=3),
        bundle_of("bob", [draft_of(both, b"x")] * 2),
    ]
    hashes = [h for bundle in bundles for h in bundle.env_hashes]
    assert len(set(hashes)) == len(hashes) == 5
    assert all(a.payload_hashes[0] == b.payload_hashes[0] for a, b in pairwise(bundles))
