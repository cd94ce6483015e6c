"""Statements and rosters: fixed layouts, one hash each, and rosters that nobody but their root can have signed."""

import struct
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.checkpoint import log_name_of
from noise.protocol.errors import DecodeError, NoiseError, SignatureError
from noise.protocol.identifiers import Actor, Role
from noise.protocol.merkle import leaf_hash, tree_root
from noise.protocol.signing import Signed, hasher
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MANIFEST,
    MERGE_SHEET,
    MESSAGE_LEAF,
    NO_OVERRIDES,
    ROSTER,
    ROUTE_ENTRY,
    ROUTE_SHEET,
    SHEET_ITEM,
    STATEMENTS,
    Lane,
    RouteEntry,
    SheetItem,
    check_successor,
    hash_roster,
    hash_statement,
    message_leaves,
    open_roster,
    statement_leaf_hash,
    verify_statement,
)
from tests.vectors import golden
from tests.vectors.cast import (
    LOG_NAME,
    ORIGIN,
    OTHER_ORIGIN,
    ROOT,
    actor_key,
    make_roster,
    mixed_bundle,
    sign_roster,
    signer_of,
)
from tests.vectors.epochs import INBOX, OUTBOX, RECEIVER, ROUTER, SEQUENCER, SIGNERS, story
from tests.vectors.make_statements import refused_rosters

GOOD = sign_roster(make_roster(2, 3))
ENTRY = ROUTE_ENTRY.encode(RouteEntry(OUTBOX.encode(), 1, bytes(32)))
ITEM = SHEET_ITEM.encode(SheetItem(bytes(32), 1, bytes(32)))


def test_bodies_have_fixed_widths() -> None:
    """Nothing in them can move: every body of a kind is equally long, and says first of which kind it is."""
    origin_actor_epoch = 32 + 5 + 4 + 8
    for codec, number, size in (
        (MESSAGE_LEAF, 3, 16 + 32 + 8 + 32 + 32 + 2 + 3 * 32),
        (MANIFEST, 4, origin_actor_epoch + 2 + 4 + 32 + 32),
        (SHEET_ITEM, 21, 32 + 4 + 32),
        (ROUTE_ENTRY, 22, 5 + 4 + 32),
        (ROUTE_SHEET, 13, origin_actor_epoch + 32 + 2 + 32 + 2 + 32 + 32),
        (EPOCH_HEAD, 5, origin_actor_epoch + 32 + 32 + 8 + 32 + 32),
        (EPOCH_OPEN, 6, origin_actor_epoch + 32 + 32 + 4 + 32 + 4),
        (EPOCH_RECORD, 7, 8 + 32 + 8 + 32 + 36 + 36 + 36 + 4),
    ):
        assert codec.min_size == 2 + size
        fields = [bytes(field.min_size) if "s" in (field.format or "") else 0 for _, field in codec._fields]
        assert codec.pack(*fields) == number.to_bytes(2, "big") + bytes(size)


def test_a_body_is_not_taken_for_another_kind() -> None:
    epoch = story().epochs[0]
    bodies = {MANIFEST: epoch.manifest.body, EPOCH_HEAD: epoch.head.body, EPOCH_OPEN: epoch.signed[SEQUENCER].body}
    bodies |= {ROUTE_SHEET: epoch.signed[ROUTER].body, MERGE_SHEET: epoch.signed[RECEIVER].body}
    bodies |= {ROUTE_ENTRY: ENTRY, SHEET_ITEM: ITEM}
    bodies |= {EPOCH_RECORD: epoch.record, ROSTER: GOOD.body, MESSAGE_LEAF: epoch.placed[0].leaves[0]}
    for codec in bodies:
        for other, body in bodies.items():
            if codec is other:
                assert codec.encode(codec.decode(body)) == body
            else:
                with pytest.raises(DecodeError):
                    codec.decode(body)


def test_message_leaves_by_hand() -> None:
    bundle = mixed_bundle()
    seqs = [i.to_bytes(16, "big") for i in range(100, 105)]
    for i, leaf in enumerate(message_leaves(bundle, seqs)):
        members = bundle.recipients[bundle.rows[i].set_index]
        assert leaf == b"".join(
            (
                *(b"\x00\x03", seqs[i], bundle.sender, (7 + i).to_bytes(8, "big")),
                *(bundle.env_hashes[i], bundle.bundle_hash, len(members.device_ids).to_bytes(2, "big")),
                *(members.root, bundle.payload_hashes[i], bundle.ciphertexts_roots[i]),
            )
        )


@pytest.mark.parametrize("seq", [b"", bytes(15), bytes(17)])
def test_a_leaf_never_has_a_padded_or_cut_position(seq: bytes) -> None:
    with pytest.raises(DecodeError):
        message_leaves(mixed_bundle(), [bytes(16), seq, bytes(16), bytes(16), bytes(16)])


@pytest.mark.parametrize("count", [0, 4, 6])
def test_leaves_are_as_many_as_positions(count: int) -> None:
    with pytest.raises(ValueError, match="zip"):
        message_leaves(mixed_bundle(), [bytes(16)] * count)


def test_statement_leaves_by_hand() -> None:
    epoch = story().epochs[0]
    body_hash = hasher("head")(epoch.head.body)
    leaf = sha256(b"\x00" + b"\x00\x13" + OUTBOX.encode() + body_hash).digest()
    assert statement_leaf_hash(OUTBOX.encode(), body_hash) == leaf == epoch.statements.levels[0][3]
    assert tree_root([]) == NO_OVERRIDES == sha256(b"").digest()


def test_a_good_roster_opens() -> None:
    roster = open_roster(GOOD, ORIGIN)
    assert roster == make_roster(2, 3)
    assert [roster.count_of(role) for role in Role] == [2, 2, 3, 3, 1, 1]
    assert roster.log_name == LOG_NAME
    counts = {Role.INBOX: 2, Role.ROUTER: 2, Role.RECEIVER: 3, Role.OUTBOX: 3, Role.SEQUENCER: 1}
    signers = [Actor(role, 0, number) for role, count in counts.items() for number in range(count)]
    assert roster.signers() == [actor.encode() for actor in signers]
    for actor in signers:
        assert roster.entry(actor).key == actor_key(actor).public_key
    with pytest.raises(SignatureError) as refused:
        roster.entry(Actor(Role.OUTBOX, 0, 3))
    assert refused.value.code == "unknown-actor"


ROSTER_RULES = {
    "an inbox without a router": "one router for each inbox",
    "a router without an inbox": "one router for each inbox",
    "a router of another number": "one router for each inbox",
    "an outbox without a receiver": "one receiver for each outbox",
    "a receiver without an outbox": "one receiver for each outbox",
    "a receiver of another number": "one receiver for each outbox",
    "an outbox of another number": "numbered from 0",
    "an inbox without a lane": "has one lane",
    "an inbox with two lanes": "has one lane",
    "no sequencer": "one sequencer",
    "no log": "one sequencer, one log",
    "no outbox": "inboxes and outboxes",
    "no inbox": "inboxes and outboxes",
    "two sequencers": "one sequencer",
}


@pytest.mark.parametrize("why", ROSTER_RULES)
def test_who_a_roster_must_name(why: str) -> None:
    """The walk from an inbox to an outbox has exactly one actor at every stage."""
    with pytest.raises(DecodeError, match=ROSTER_RULES[why]):
        open_roster(dict(refused_rosters())[why], ORIGIN)


@pytest.mark.parametrize(("why", "signed"), refused_rosters(), ids=[why for why, _ in refused_rosters()])
def test_wrong_rosters_are_refused(why: str, signed: Signed) -> None:
    stored = next(case for case in golden.read("statements.json")["refused_rosters"] if case["why"] == why)
    with pytest.raises((DecodeError, SignatureError)) as refused:
        open_roster(signed, ORIGIN)
    assert refused.value.code == stored["code"]


def test_a_roster_is_one_providers() -> None:
    with pytest.raises(SignatureError) as refused:
        open_roster(GOOD, OTHER_ORIGIN)
    assert refused.value.code == "wrong-origin"
    another = signer_of("another root")
    theirs = make_roster()._replace(
        origin=OTHER_ORIGIN, root_key=another.public_key, log_name=log_name_of(OTHER_ORIGIN)
    )
    assert open_roster(another.sign("roster", OTHER_ORIGIN, ROSTER.encode(theirs)), OTHER_ORIGIN) == theirs
    misnamed = ROSTER.encode(theirs._replace(log_name=log_name_of(ORIGIN)))
    with pytest.raises(SignatureError):
        open_roster(another.sign("roster", OTHER_ORIGIN, misnamed), OTHER_ORIGIN)
    with pytest.raises(SignatureError):
        open_roster(another.sign("roster", ORIGIN, ROSTER.encode(theirs._replace(origin=ORIGIN))), ORIGIN)


def test_flipped_bits_of_a_roster_are_refused() -> None:
    signed = sign_roster(make_roster())
    whole = signed.body + signed.signature
    for bit in range(0, 8 * len(whole), 3):  # three is no divisor of eight: two or three bits of every byte
        at = bit // 8
        flipped = whole[:at] + bytes([whole[at] ^ 1 << bit % 8]) + whole[at + 1 :]
        with pytest.raises((DecodeError, SignatureError)):
            open_roster(Signed(flipped[:-64], flipped[-64:]), ORIGIN)


def test_succession() -> None:
    first = make_roster()
    signed = sign_roster(first)
    heir = first._replace(version=2, previous=hash_roster(signed.body), valid_from_epoch=9)
    check_successor(signed, heir)
    check_successor(sign_roster(heir), heir._replace(version=3, previous=hash_roster(sign_roster(heir).body)))
    for wrong in (
        heir._replace(version=1),
        heir._replace(version=3),
        heir._replace(version=0),
        heir._replace(previous=bytes(32)),
        heir._replace(previous=hash_roster(signed.signature)),
        first,
    ):
        with pytest.raises(DecodeError):
            check_successor(signed, wrong)
    retroactive = heir._replace(version=3, previous=hash_roster(sign_roster(heir).body), valid_from_epoch=8)
    with pytest.raises(DecodeError, match="ended"):
        check_successor(sign_roster(heir), retroactive)
    check_successor(sign_roster(heir), retroactive._replace(valid_from_epoch=9))


def test_who_signed_a_statement() -> None:
    roster, epoch = make_roster(2, 2), story().epochs[0]
    verify_statement(epoch.head, "head", roster, OUTBOX, 0)
    for signed, label, actor, incarnation, code in (
        (epoch.head, "manifest", OUTBOX, 0, "bad-signature"),
        (epoch.head, "head", INBOX, 0, "bad-signature"),
        (epoch.head, "head", Actor(Role.OUTBOX, 0, 1), 0, "bad-signature"),
        (epoch.head, "head", Actor(Role.OUTBOX, 0, 2), 0, "unknown-actor"),
        (epoch.head, "head", Actor(Role.OUTBOX, 1, 0), 0, "unknown-actor"),
        (epoch.head, "head", OUTBOX, 1, "wrong-incarnation"),
        (epoch.manifest, "head", OUTBOX, 0, "bad-signature"),
        (epoch.head._replace(body=epoch.head.body + b"\0"), "head", OUTBOX, 0, "bad-signature"),
    ):
        with pytest.raises(SignatureError) as refused:
            verify_statement(signed, label, roster, actor, incarnation)
        assert refused.value.code == code
    with pytest.raises(SignatureError):
        verify_statement(epoch.head, "head", roster._replace(origin=OTHER_ORIGIN), OUTBOX, 0)


def test_every_signer_signs_under_a_label_of_its_own() -> None:
    """And nobody else's statement, or the statement of another stage, is taken for it."""
    roster, signed = make_roster(), story().epochs[0].signed
    assert {actor.role for actor in SIGNERS} == set(STATEMENTS) == set(Role) - {Role.LOG}
    assert len({label for label, _ in STATEMENTS.values()}) == len(STATEMENTS)
    for actor in SIGNERS:
        label, body_hash = STATEMENTS[actor.role]
        verify_statement(signed[actor], label, roster, actor, 0)
        assert hash_statement(actor.encode(), signed[actor].body) == body_hash(signed[actor].body)
        assert body_hash(signed[actor].body) == hasher(label)(signed[actor].body)
        for other in SIGNERS:
            if other != actor:
                for given in ((signed[actor], STATEMENTS[other.role][0], actor), (signed[actor], label, other)):
                    with pytest.raises(SignatureError):
                        verify_statement(given[0], given[1], roster, given[2], 0)


def test_bodies_cannot_be_packed_out_of_range() -> None:
    manifest = MANIFEST.decode(story().epochs[0].manifest.body)
    for name, value in (("n_messages", 2**32), ("epoch", 2**64), ("lane", -1), ("incarnation", 2**32)):
        with pytest.raises((OverflowError, struct.error)):
            MANIFEST.encode(manifest._replace(**{name: value}))
        with pytest.raises(struct.error):
            MANIFEST.pack(*manifest._replace(**{name: value}))


@given(st.binary(max_size=300), st.binary(max_size=80))
@settings(max_examples=50)
def test_opening_is_total(body: bytes, signature: bytes) -> None:
    for changed in (body, GOOD.body[:100] + body, GOOD.body[: -len(body) or None]):
        with pytest.raises(NoiseError):
            open_roster(Signed(changed, signature), ORIGIN)


def test_roots_of_lists_travel_with_their_counts() -> None:
    """Every signed root has its count beside it: sizes are never taken from whoever brings a proof."""
    for codec in (MANIFEST, EPOCH_HEAD, EPOCH_OPEN, EPOCH_RECORD):
        names = [name for name, _ in codec._fields]
        counts = {"map_root": "map_count", "root": "n_messages"}
        for name in names:
            if name.endswith("root") and name != "prev_root":
                assert counts.get(name, name.replace("_root", "_count")) in names
    record = EPOCH_RECORD.decode(story().epochs[2].record)
    assert record.prev_root == tree_root([leaf_hash(epoch.record) for epoch in story().epochs[:2]])
    assert ROOT.public_key == make_roster().root_key
    assert make_roster(2).lanes == (Lane(0, INBOX.encode()), Lane(1, Actor(Role.INBOX, 0, 1).encode()))
