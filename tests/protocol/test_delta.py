"""Sections of bundles: what a mailbox gets of one opens to just its messages, and nothing else opens."""

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.delta import (
    SECTION,
    Delivery,
    OpenedSection,
    Section,
    encode_own_part,
    encode_section,
    join_hashes,
    open_section,
)
from noise.protocol.encoding import HASHES
from noise.protocol.envelope import Bundle, Draft, EnvelopeRow, Recipients, RecipientSet, hash_ciphertext
from noise.protocol.errors import DecodeError, NoiseError, ProofError, SignatureError
from noise.protocol.identifiers import make_seq, make_seqs
from noise.protocol.limits import BUNDLE_MESSAGES_MAX, CIPHERTEXT_BYTES_MAX, MESSAGE_BYTES_MAX
from noise.protocol.statements import message_leaves
from tests.protocol.forgery import forge_bundle, sorted_set
from tests.protocol.structures import damaged
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, bundle_of, device_of, draft_of, mixed_bundle, recipients_of

EPOCH, LANE, FIRST_POS = 5, 3, 10
FIRST_SEQ = make_seq(EPOCH, LANE, FIRST_POS)
BOB, CAROL = device_of("bob"), device_of("carol")
SETS = [
    recipients_of("alice", "bob"),
    recipients_of("alice"),
    recipients_of("alice", "bob", "carol"),
    recipients_of("alice", "bob", salt="another salt"),
    recipients_of("alice", "bob", *(f"device {i}" for i in range(6))),
    recipients_of("alice", "carol"),
]

drafts = st.lists(
    st.builds(draft_of, st.sampled_from(SETS), st.binary(max_size=9), st.sampled_from((0, 0, 1, 48))),
    min_size=1,
    max_size=9,
)


def indexes_for(bundle: Bundle, mailbox: bytes) -> tuple[int, ...]:
    """As the wire wants them: empty for all."""
    chosen = tuple(i for i, row in enumerate(bundle.rows) if bundle.recipients[row.set_index].index(mailbox) >= 0)
    return () if len(chosen) == bundle.count else chosen


def section_for(bundle: Bundle, mailbox: bytes) -> Section:
    indexes = indexes_for(bundle, mailbox)
    own, _ = encode_own_part(bundle, indexes, mailbox)
    return SECTION.decode(encode_section(bundle, FIRST_SEQ, indexes) + own)


def finder(lists: Sequence[Recipients]) -> Callable[[bytes], Recipients]:
    by_root = {members.root: members for members in lists}

    def find(root: bytes) -> Recipients:
        if root not in by_root:
            raise DecodeError("a recipient list that was never sent", code="unknown-recipients")
        return by_root[root]

    return find


def open_it(section: Section, mailbox: bytes = BOB, bundle: Bundle | None = None) -> OpenedSection:
    lists = bundle.recipients if bundle else SETS
    return open_section(section, ORIGIN, mailbox, EPOCH, finder(lists))


@given(drafts, st.sampled_from(("alice", "bob", "carol", "device 3")))
@settings(max_examples=60)
def test_a_mailbox_gets_its_messages_and_no_others(messages: list[Draft], name: str) -> None:
    mailbox = device_of(name)
    bundle = bundle_of("alice", messages, first_ctr=100)
    wanted = [i for i, draft in enumerate(messages) if draft.recipients.index(mailbox) >= 0]
    if not wanted:
        return
    indexes = indexes_for(bundle, mailbox)
    shared, (own, own_hashes) = encode_section(bundle, FIRST_SEQ, indexes), encode_own_part(bundle, indexes, mailbox)
    section = SECTION.decode(shared + own)
    assert SECTION.encode(section) == shared + own
    opened = open_section(section, ORIGIN, mailbox, EPOCH, finder(bundle.recipients))
    seqs = make_seqs(EPOCH, LANE, FIRST_POS, bundle.count)
    leaves = message_leaves(bundle, seqs)
    expected = [
        Delivery(
            seqs[i],
            bundle.sender,
            100 + i,
            messages[i].created_ms,
            messages[i].common,
            messages[i].ciphertexts[messages[i].recipients.index(mailbox)] if messages[i].ciphertexts else b"",
            messages[i].recipients,
            leaves[i],
        )
        for i in wanted
    ]
    assert [plain(delivery) for delivery in opened.deliveries] == [plain(delivery) for delivery in expected]
    own_ciphertexts = [(d.seq, hash_ciphertext(d.ciphertext)) for d in expected if d.ciphertext]
    assert opened.own_ciphertexts == own_ciphertexts == [(seqs[i], h) for i, h in own_hashes]


def plain(delivery: Delivery) -> tuple[object, ...]:
    """A delivery with its recipients as values."""
    return (*delivery._replace(recipients=SETS[0]), delivery.recipients.env_salt, delivery.recipients.device_ids)


def content(opened: OpenedSection) -> list[tuple[object, ...]]:
    """What was delivered, without where: positions are the provider's to say, once, under its history record."""
    return [plain(delivery._replace(seq=b"", leaf=b"")) for delivery in opened.deliveries]


def test_the_shared_part_is_the_same_for_all_who_get_the_same_messages() -> None:
    bundle = mixed_bundle()
    for first, second in (("bob", "bob"), ("alice", "alice")):
        assert section_for(bundle, device_of(first)) == section_for(bundle, device_of(second))
    everything = section_for(bundle, device_of("alice"))
    assert (everything.indexes, everything.proof) == ((), ())
    assert section_for(bundle, BOB).indexes == (0, 1, 2, 4)
    assert section_for(bundle, CAROL).indexes == (1, 4)
    assert [row.set_index for row in section_for(bundle, CAROL).rows] == [0, 0]


def damaged_content(bundle: Bundle, mailbox: bytes, data: bytes) -> object:
    """What damaged bytes open to, or None when they are refused, as they should."""
    try:
        return content(open_it(SECTION.decode(data), mailbox, bundle))
    except NoiseError:
        return None


@pytest.mark.parametrize("name", ["alice", "bob", "carol"])
def test_damaged_sections_are_refused(name: str, search_factor: int) -> None:
    bundle, mailbox, random = mixed_bundle(), device_of(name), Random(1)
    data = SECTION.encode(section_for(bundle, mailbox))
    good = damaged_content(bundle, mailbox, data)
    assert good is not None
    for _ in range(400 * search_factor):
        changed = damaged(data, random)
        if changed[16:] != data[16:] or changed[:8] != data[:8]:
            assert damaged_content(bundle, mailbox, changed) is None
        else:
            assert damaged_content(bundle, mailbox, changed) in (None, good)


def test_flipped_bits_are_refused() -> None:
    bundle = bundle_of("alice", [draft_of(SETS[1], b"x"), draft_of(SETS[0], b"to bob", 5)])
    data = SECTION.encode(section_for(bundle, BOB))
    good = damaged_content(bundle, BOB, data)
    for bit in range(8 * len(data)):
        at = bit // 8
        flipped = damaged_content(bundle, BOB, data[:at] + bytes([data[at] ^ 1 << bit % 8]) + data[at + 1 :])
        assert flipped == (good if 8 <= at < 16 else None)


def test_another_position_is_another_leaf() -> None:
    """A section does not prove its positions: they are in the leaves, which the history record commits to."""
    section = section_for(mixed_bundle(), BOB)
    here = open_it(section)
    there = open_it(section._replace(first_seq=make_seq(EPOCH, LANE, FIRST_POS + 1)))
    assert content(here) == content(there)
    assert not {d.leaf for d in here.deliveries} & {d.leaf for d in there.deliveries}


def refusal(section: Section, mailbox: bytes = BOB, bundle: Bundle | None = None) -> str:
    with pytest.raises(NoiseError) as refused:
        open_it(section, mailbox, bundle)
    return refused.value.code


def test_sections_of_others_are_refused() -> None:
    section = section_for(mixed_bundle(), BOB)
    assert refusal(section, CAROL) == "not-a-recipient"
    assert refusal(section, device_of("dave")) == "not-a-recipient"
    for origin, epoch, error in (
        (OTHER_ORIGIN, EPOCH, SignatureError),
        (ORIGIN, EPOCH + 1, DecodeError),
        (ORIGIN, EPOCH - 1, DecodeError),
    ):
        with pytest.raises(error):
            open_section(section, origin, BOB, epoch, finder(SETS))
    with pytest.raises(DecodeError) as refused:
        open_section(section, ORIGIN, BOB, EPOCH, finder(()))
    assert refused.value.code == "unknown-recipients"


def test_indexes_are_a_proper_part_in_order() -> None:
    bundle = mixed_bundle()
    section, everything = section_for(bundle, BOB), section_for(bundle, device_of("alice"))
    for indexes in ((0, 1, 4, 2), (0, 0, 1, 2), (0, 1, 2, 5), (0, 1, 2, 65535), (4, 2, 1, 0), (0, 1, 2), (0, 1, 2, 3)):
        assert refusal(section._replace(indexes=indexes))
    assert refusal(section._replace(indexes=())) == "malformed"
    assert refusal(everything._replace(indexes=(0, 1, 2, 3, 4)), device_of("alice")) == "malformed"
    spelled_out = SECTION.decode(encode_section(bundle, FIRST_SEQ, (0, 1, 2, 3, 4)) + bytes(8))
    assert refusal(spelled_out, device_of("alice")) == "malformed"
    for n_envelopes in (0, 4, 6, 256):
        assert refusal(section._replace(n_envelopes=n_envelopes))


def test_rows_refer_to_lists_of_the_section() -> None:
    section = section_for(mixed_bundle(), BOB)
    first, *others = section.rows
    for place in (len(section.roots), 65535):
        assert refusal(section._replace(rows=(first._replace(set_index=place), *others))) == "malformed"
    assert refusal(section._replace(rows=())) == "malformed"
    assert refusal(section._replace(rows=(*section.rows, first))) == "malformed"
    assert refusal(section._replace(roots=section.roots[::-1]))
    assert refusal(section._replace(roots=())) == "malformed"
    assert refusal(section._replace(roots=(SETS[1].root,) * 2)) == "malformed"
    assert refusal(section._replace(roots=(SETS[1].root, section.roots[1]))) == "not-a-recipient"
    assert refusal(section._replace(rows=(first._replace(set_index=1), *others)))


def test_proofs_have_one_length() -> None:
    section = section_for(mixed_bundle(), BOB)
    assert section.proof
    for proof in ((), section.proof[:-1], (*section.proof, bytes(32)), section.proof[::-1] * 2):
        assert refusal(section._replace(proof=proof)) == "bad-proof"
    assert refusal(section._replace(proof=(bytes(32),) * len(section.proof))) == "bad-signature"


def test_own_ciphertexts_are_this_mailboxs() -> None:
    bundle = mixed_bundle()
    section, other = section_for(bundle, BOB), section_for(bundle, device_of("alice"))
    proofs = section.ciphertext_proofs
    assert len(proofs) == 3
    for changed in (proofs[:-1], (*proofs, ()), (), proofs[::-1], ((), *proofs[1:]), (proofs[0] * 2, *proofs[1:])):
        assert refusal(section._replace(ciphertext_proofs=changed))
    for ciphertexts in (section.ciphertexts[:-1], section.ciphertexts + b"\0", b"", section.ciphertexts[::-1]):
        assert refusal(section._replace(ciphertexts=ciphertexts))
    theirs = other.ciphertexts[: 48 + 64] + other.ciphertexts[48 + 64 + 1 :]
    assert len(theirs) == len(section.ciphertexts)
    assert refusal(section._replace(ciphertexts=theirs)) == "bad-signature"
    assert refusal(section._replace(ciphertexts=b"", ciphertext_proofs=())) == "bad-proof"
    bare = tuple(row._replace(ciphertext_len=0) for row in section.rows)
    assert refusal(section._replace(rows=bare, ciphertexts=b"", ciphertext_proofs=())) == "bad-signature"


def test_nobody_else_gets_an_own_part() -> None:
    with pytest.raises(ProofError):
        encode_own_part(mixed_bundle(), (0,), CAROL)
    assert encode_own_part(bundle_of("alice", [draft_of(SETS[0], b"x")]), (), CAROL) == (bytes(8), [])


def forged_section(bundle: Bundle, **changes: object) -> Section:
    return SECTION.decode(encode_section(bundle, FIRST_SEQ, ()) + bytes(8))._replace(**changes)  # type: ignore[arg-type]


def test_what_no_provider_may_accept_is_refused_here_too() -> None:
    """A provider that conspires with a sender could pass on what acceptance refuses."""
    without_sender = forge_bundle([sorted_set("bob")], [(0, b"x")])
    assert refusal(forged_section(without_sender), BOB, without_sender) == "sender-not-recipient"
    many = forge_bundle([sorted_set("alice", "bob")], [(0, b"x")] * (BUNDLE_MESSAGES_MAX + 1))
    with pytest.raises(DecodeError):
        forged_section(many)
    large = forge_bundle([sorted_set("alice", "bob")], [(0, bytes(MESSAGE_BYTES_MAX + 1))])
    assert refusal(forged_section(large), BOB, large) == "message-too-large"
    last = forge_bundle([sorted_set("alice", "bob")], [(0, b"x")], first_ctr=2**64 - 1)
    assert refusal(forged_section(last), BOB, last) == "counter-overflow"
    fat = EnvelopeRow(0, 0, 1, CIPHERTEXT_BYTES_MAX + 1)
    assert refusal(forged_section(without_sender, rows=(fat,)), BOB, without_sender) == "ciphertext-too-large"


def test_sections_stay_in_their_lane() -> None:
    bundle = mixed_bundle()
    section = section_for(bundle, device_of("alice"))
    for first_pos, fits in ((2**48 - 5, True), (2**48 - 4, False), (2**48 - 1, False)):
        changed = section._replace(first_seq=make_seq(EPOCH, LANE, first_pos))
        if fits:
            assert open_it(changed, device_of("alice")).deliveries[-1].seq == make_seq(EPOCH, LANE, 2**48 - 1)
        else:
            assert refusal(changed, device_of("alice")) == "malformed"


def test_one_index_of_many_costs_one_row() -> None:
    """A part may be small beside its bundle; what it claims beyond the limit is refused before it is counted out."""
    bundle = bundle_of("alice", [draft_of(SETS[1], b"x")] * 255 + [draft_of(SETS[0], b"y")])
    section = section_for(bundle, BOB)
    assert len(section.rows) == 1
    assert [d.sender_ctr for d in open_it(section).deliveries] == [256]
    assert refusal(section._replace(n_envelopes=65535)) == "bundle-count"


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=5))
def test_joined_hashes_are_encoded_hashes(hashes: list[bytes]) -> None:
    assert join_hashes(hashes) == HASHES.encode(tuple(hashes))


def test_sets_of_a_section_may_be_any_that_hold_the_mailbox() -> None:
    """Salts differ, roots differ: a list under another salt is another list."""
    bundle = bundle_of("alice", [draft_of(SETS[0], b"x")])
    other = Recipients(RecipientSet(SETS[3].env_salt, SETS[0].device_ids))
    assert other.root == SETS[3].root != SETS[0].root
    assert refusal(section_for(bundle, BOB)._replace(roots=(other.root,))) == "bad-signature"
