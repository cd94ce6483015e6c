"""Bundles: what is built opens again as it was, and every refusal has its own code, on both sides of the wire."""

import struct
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.envelope import (
    BUNDLE_WIRE,
    CIPHERTEXT_LEAF,
    Bundle,
    BundleWire,
    Draft,
    Recipients,
    RecipientSet,
    build_bundle,
    hash_ciphertext,
    open_bundle,
    recipient_leaf_hashes,
)
from noise.protocol.errors import DecodeError, NoiseError, Rejected, SignatureError
from noise.protocol.limits import (
    BUNDLE_BYTES_MAX,
    BUNDLE_MESSAGES_MAX,
    CIPHERTEXT_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    RECIPIENTS_MAX,
)
from noise.protocol.merkle import (
    EMPTY_ROOT,
    Tree,
    check_inclusion,
    leaf_hash,
    prove_subset,
    root_from_subset,
    tree_root,
)
from noise.protocol.signing import hasher, verify_strict
from tests.protocol.forgery import forge, recipient_set, sorted_set
from tests.vectors.cast import (
    CREATED_MS,
    ORIGIN,
    OTHER_ORIGIN,
    bundle_of,
    device_of,
    draft_of,
    filler,
    mixed_bundle,
    recipients_of,
    signer_of,
)

ALICE = device_of("alice")
US = recipients_of("alice", "bob")
SETS = [
    US,
    recipients_of("alice"),
    recipients_of("alice", "bob", "carol"),
    recipients_of("alice", "bob", salt="another salt"),
    recipients_of("alice", *(f"device {i}" for i in range(9))),
]


def attributes(bundle: Bundle) -> dict[str, Any]:
    trees = {"_tree", "ciphertext_trees"}
    plain = {name: getattr(bundle, name) for name in Bundle.__slots__ if name not in trees}
    plain["recipients"] = [(r.env_salt, r.device_ids, r.root) for r in bundle.recipients]
    plain["trees"] = [bundle.tree().levels, [tree.levels for tree in bundle.ciphertext_trees]]
    return plain


drafts = st.lists(
    st.builds(
        draft_of,
        st.sampled_from(SETS),
        st.binary(max_size=20),
        st.sampled_from((0, 0, 1, 48, CIPHERTEXT_BYTES_MAX)),
        st.integers(0, 2**64 - 1),
    ),
    min_size=1,
    max_size=6,
)


@given(drafts, st.integers(0, 2**64 - 8))
@settings(max_examples=40)
def test_what_is_built_opens_again(messages: list[Draft], first_ctr: int) -> None:
    built = bundle_of("alice", messages, first_ctr)
    data = built.encode()
    opened = open_bundle(data, ORIGIN)
    assert attributes(opened) == attributes(built)
    assert opened.encode() == data
    assert opened.count == len(messages)
    for i, draft in enumerate(messages):
        row = opened.rows[i]
        members = opened.recipients[row.set_index]
        assert (members.root, members.device_ids) == (draft.recipients.root, draft.recipients.device_ids)
        assert (opened.commons[i], row.created_ms) == (draft.common, draft.created_ms)
        assert opened.ciphertext_columns[i] == b"".join(draft.ciphertexts)
    assert len(opened.recipients) == len({draft.recipients.root for draft in messages})


def test_trees_prove_every_part() -> None:
    bundle = mixed_bundle()
    assert bundle.root == bundle.tree().root == tree_root(bundle.tree().levels[0])
    for row, column, tree, root in zip(
        bundle.rows, bundle.ciphertext_columns, bundle.ciphertext_trees, bundle.ciphertexts_roots, strict=True
    ):
        size, n = row.ciphertext_len, len(bundle.recipients[row.set_index].device_ids)
        if not size:
            assert (root, column, tree.size) == (EMPTY_ROOT, b"", 0)
        for i in range(n if size else 0):
            leaf = leaf_hash(CIPHERTEXT_LEAF + hash_ciphertext(column[i * size : (i + 1) * size]))
            assert root_from_subset(n, [i], [leaf], prove_subset(tree, [i])) == root


def test_the_signature_covers_the_header_alone_and_the_header_everything() -> None:
    bundle = mixed_bundle()
    verify_strict(bundle.key, bundle.signature, "bundle", ORIGIN, bundle.body)
    assert bundle.bundle_hash == sha256(sha256(b"noise-seq/1/h/bundle").digest() + bundle.body).digest()
    assert len(bundle.body) == 2 + 3 * 32 + 8 + 2 + 32


def test_a_cache_may_stand_in_for_the_hashing() -> None:
    known: dict[RecipientSet, Recipients] = {}
    data = mixed_bundle().encode()

    def recipients_of_set(s: RecipientSet) -> Recipients:
        return known.setdefault(s, Recipients(s))

    first, second = (open_bundle(data, ORIGIN, recipients_of_set) for _ in range(2))
    assert first.recipients == second.recipients == list(known.values())


def refusal(data: bytes | BundleWire) -> str:
    encoded = data if isinstance(data, bytes) else BUNDLE_WIRE.encode(data)
    with pytest.raises((DecodeError, Rejected, SignatureError)) as refused:
        open_bundle(encoded, ORIGIN)
    return refused.value.code


def many_devices(n: int) -> tuple[bytes, ...]:
    """Distinct ids with alice among them, sorted."""
    return tuple(sorted([ALICE, *(sha256(bytes([i & 255, i >> 8])).digest() for i in range(n - 1))]))


def test_recipient_counts() -> None:
    salt = filler("salt", 16)
    most = RecipientSet(salt, many_devices(RECIPIENTS_MAX))
    assert open_bundle(BUNDLE_WIRE.encode(forge([most], [(0, b"x")])), ORIGIN).count == 1
    assert refusal(forge([RecipientSet(salt, many_devices(RECIPIENTS_MAX + 1))], [(0, b"x")])) == "too-many-recipients"
    assert refusal(forge([RecipientSet(salt, ())], [(0, b"x")])) == "no-recipients"
    for ids, code in (
        (most.device_ids[::-1], "unsorted-recipients"),
        ((most.device_ids[1], most.device_ids[0], *most.device_ids[2:]), "unsorted-recipients"),
        ((*most.device_ids[:1], *most.device_ids[:-1]), "duplicate-recipients"),
        ((*most.device_ids[:-1], most.device_ids[0]), "duplicate-recipients"),
    ):
        assert refusal(forge([RecipientSet(salt, ids)], [(0, b"x")])) == code
        with pytest.raises(Rejected) as refused:
            Recipients(RecipientSet(salt, ids))
        assert refused.value.code == code


def test_the_sender_must_be_a_recipient_of_every_message() -> None:
    without = Recipients(recipient_set("bob"))
    for messages in ([draft_of(without, b"x")], [draft_of(US, b"x"), draft_of(without, b"x")]):
        with pytest.raises(Rejected) as refused:
            bundle_of("alice", messages)
        assert refused.value.code == "sender-not-recipient"
    assert refusal(forge([sorted_set("bob")], [(0, b"x")])) == "sender-not-recipient"
    assert refusal(forge([sorted_set("alice"), sorted_set("bob")], [(0, b"x"), (1, b"x")])) == "sender-not-recipient"


def test_bundle_counts() -> None:
    most = [draft_of(US, b"")] * BUNDLE_MESSAGES_MAX
    assert open_bundle(bundle_of("alice", most).encode(), ORIGIN).count == BUNDLE_MESSAGES_MAX
    for count in (0, BUNDLE_MESSAGES_MAX + 1, 70_000):
        with pytest.raises(Rejected) as refused:
            bundle_of("alice", [draft_of(US, b"")] * count)
        assert refused.value.code == "bundle-count"
    assert refusal(forge([], [])) == "bundle-count"
    assert refusal(forge([sorted_set("alice")], [(0, b"")] * (BUNDLE_MESSAGES_MAX + 1))) == "bundle-count"


def test_message_sizes() -> None:
    largest = bundle_of("alice", [draft_of(US, bytes(MESSAGE_BYTES_MAX))])
    assert open_bundle(largest.encode(), ORIGIN).commons == [bytes(MESSAGE_BYTES_MAX)]
    with pytest.raises(Rejected) as refused:
        bundle_of("alice", [draft_of(US, bytes(MESSAGE_BYTES_MAX + 1))])
    assert refused.value.code == "message-too-large"
    assert refusal(forge([sorted_set("alice")], [(0, bytes(MESSAGE_BYTES_MAX + 1))])) == "message-too-large"


def test_ciphertext_sizes() -> None:
    largest = bundle_of("alice", [draft_of(US, b"", CIPHERTEXT_BYTES_MAX)])
    assert len(open_bundle(largest.encode(), ORIGIN).ciphertext_columns[0]) == 2 * CIPHERTEXT_BYTES_MAX
    for size in (CIPHERTEXT_BYTES_MAX + 1, 65_535, 65_536):
        with pytest.raises(Rejected) as refused:
            bundle_of("alice", [draft_of(US, b"", size)])
        assert refused.value.code == "ciphertext-too-large"
    size = CIPHERTEXT_BYTES_MAX + 1
    forged = forge([sorted_set("alice")], [(0, b"")], ciphertext_len=size, ciphertexts=bytes(size))
    assert refusal(forged) == "ciphertext-too-large"


def test_counters_end_before_they_wrap() -> None:
    """The number after the last one must exist, too: it is the next counter."""
    last = bundle_of("alice", [draft_of(US, b"")] * 2, first_ctr=2**64 - 3)
    assert open_bundle(last.encode(), ORIGIN).first_ctr == 2**64 - 3
    for first_ctr, count in ((2**64 - 2, 2), (2**64 - 1, 1), (2**64 - 256, 256), (2**64, 1)):
        with pytest.raises(Rejected) as refused:
            bundle_of("alice", [draft_of(US, b"")] * count, first_ctr)
        assert refused.value.code == "counter-overflow"
    assert refusal(forge([sorted_set("alice")], [(0, b"")], first_ctr=2**64 - 1)) == "counter-overflow"


def test_bundle_bytes() -> None:
    """The limit comes before anything is read, so that nothing has to be held or parsed beyond it."""
    base = bundle_of("alice", [draft_of(US, bytes(MESSAGE_BYTES_MAX))] * 3 + [draft_of(US, b"")]).encode()
    room = BUNDLE_BYTES_MAX - len(base)
    for extra, fits in ((0, True), (1, False)):
        messages = [draft_of(US, bytes(MESSAGE_BYTES_MAX))] * 3 + [draft_of(US, bytes(room + extra))]
        data = bundle_of("alice", messages).encode()
        assert len(data) == BUNDLE_BYTES_MAX + extra
        if fits:
            assert open_bundle(data, ORIGIN).count == 4
        else:
            assert refusal(data) == "bundle-too-large"
    assert refusal(bytes(BUNDLE_BYTES_MAX + 1)) == "bundle-too-large"


def test_origins_and_keys() -> None:
    data = mixed_bundle().encode()
    with pytest.raises(Rejected) as refused:
        open_bundle(data, OTHER_ORIGIN)
    assert refused.value.code == "wrong-origin"
    wire = BUNDLE_WIRE.decode(data)
    assert refusal(wire._replace(origin=OTHER_ORIGIN)) == "wrong-origin"
    with pytest.raises(SignatureError):
        open_bundle(BUNDLE_WIRE.encode(wire._replace(origin=OTHER_ORIGIN)), OTHER_ORIGIN)
    assert refusal(wire._replace(key=signer_of("bob").public_key)) == "sender-not-recipient"
    ours = BUNDLE_WIRE.decode(bundle_of("alice", [draft_of(US, b"x")]).encode())
    assert refusal(ours._replace(key=signer_of("bob").public_key)) == "bad-signature"
    for label in ("ack", "manifest"):
        signature = signer_of("alice").sign(label, ORIGIN, mixed_bundle().body).signature
        assert refusal(wire._replace(signature=signature)) == "bad-signature"


def test_drafts_that_do_not_fit_their_recipients_are_not_signed() -> None:
    """Columns are joined: ciphertexts of uneven lengths would be cut at other places than they were joined."""
    for ciphertexts in (
        (b"aaa", b"a"),
        (b"a", b"aaa"),
        (b"aa",),
        (b"aa", b"aa", b"aa"),
        (b"", b""),
        (b"aa", b""),
        (b"", b"aa"),
    ):
        with pytest.raises(DecodeError):
            build_bundle(signer_of("alice"), ORIGIN, 1, [Draft(US, b"x", ciphertexts, 0)])


@pytest.mark.parametrize("created_ms", [-1, 2**64])
def test_times_beyond_their_width_are_not_signed(created_ms: int) -> None:
    with pytest.raises(struct.error):
        bundle_of("alice", [draft_of(US, b"", 0, created_ms)])


@pytest.mark.parametrize("origin", [b"", ORIGIN[:31], ORIGIN + b"\0"])
def test_an_origin_is_never_padded_or_cut(origin: bytes) -> None:
    with pytest.raises(NoiseError):
        bundle_of("alice", [draft_of(US, b"")], origin=origin)


def test_opening_is_total_and_cheap_on_arbitrary_structures(search_factor: int) -> None:
    """Well-formed bytes without any sense: indexes of no set, lengths of no bytes, keys that are none."""
    random = Random(1)
    wire = BUNDLE_WIRE.decode(mixed_bundle().encode())
    for _ in range(400 * search_factor):
        rows = [
            row._replace(
                set_index=random.choice((0, 1, 2, 3, 65535)),
                common_len=random.choice((0, 1, row.common_len, 2**32 - 1)),
                ciphertext_len=random.choice((0, 1, row.ciphertext_len, 65535)),
            )
            for row in random.sample(wire.rows, random.randint(0, 5))
        ]
        changed = wire._replace(
            rows=tuple(rows),
            sets=tuple(random.sample(wire.sets, random.randint(0, 3))),
            commons=random.choice((b"", wire.commons, bytes(5))),
            ciphertexts=random.choice((b"", wire.ciphertexts, bytes(5))),
        )
        assert refusal(changed)


def test_recipients_are_found_by_bisection() -> None:
    members = Recipients(RecipientSet(filler("salt", 16), many_devices(9)))
    for place, device_id in enumerate(members.device_ids):
        assert members.index(device_id) == place
    for other in (bytes(32), b"\xff" * 32, device_of("nobody"), b"", members.device_ids[0] + b"\0"):
        assert members.index(other) == -1


def test_one_recipient_opens_alone() -> None:
    """Evidence shows one salt and one id; of the others it shows hashes that cannot be guessed without their salts."""
    members = SETS[4]
    salt_hash, recipient_hash = hasher("rsalt"), hasher("rcpt")
    leaves = recipient_leaf_hashes(members.env_salt, members.device_ids)
    place, n = 3, len(leaves)
    opened = members.device_ids[place]
    salt = salt_hash(members.env_salt + opened)[:16]
    leaf = leaf_hash(b"\x00\x10" + recipient_hash(salt + opened))
    check_inclusion(members.root, n, place, leaf, Tree(leaves).inclusion(place))
    guesses = [leaf_hash(b"\x00\x10" + recipient_hash(salt + device_id)) for device_id in members.device_ids]
    assert [guess in leaves for guess in guesses] == [i == place for i in range(n)]


def test_equal_recipients_hide_behind_different_salts() -> None:
    one, other = recipients_of("alice", "bob"), recipients_of("alice", "bob", salt="another salt")
    assert one.device_ids == other.device_ids
    hashes = [recipient_leaf_hashes(r.env_salt, r.device_ids) for r in (one, other)]
    assert not set(hashes[0]) & set(hashes[1])
    assert one.root != other.root
    shared = recipient_leaf_hashes(one.env_salt, (device_of("bob"), device_of("carol")))
    assert len({*hashes[0], *shared}) == 3  # under one salt a device looks the same in every set


@pytest.mark.parametrize(
    ("env_salt", "device_ids"),
    [
        (bytes(15), US.device_ids),
        (bytes(17), US.device_ids),
        (b"", US.device_ids),
        (bytes(16), (ALICE[:31],)),
        (bytes(16), (ALICE + b"\0",)),
        (bytes(16), (b"",)),
        (bytes(16), (b"".join(US.device_ids),)),
    ],
)
def test_nothing_but_whole_ids_and_salts_is_hashed(env_salt: bytes, device_ids: tuple[bytes, ...]) -> None:
    """The hashes join salt and id without a length between them: both must have their width."""
    with pytest.raises(DecodeError):
        Recipients(RecipientSet(env_salt, device_ids))


def test_times_are_informative() -> None:
    assert bundle_of("alice", [draft_of(US, b"x")]).rows[0].created_ms == CREATED_MS
