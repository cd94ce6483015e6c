"""Gossip: small enough to travel with every message, total against junk, answered whatever is kept; links' openings."""

from collections.abc import Callable
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol import gossip
from noise.protocol.errors import DecodeError, NoiseError, SignatureError
from noise.protocol.gossip import (
    ANSWER_BYTES_MAX,
    CONTENT_FRAMES,
    GOSSIP_FRAME_BYTES_MAX,
    GOSSIP_TYPES,
    LINK_FRAMES,
    PAGE_ITEMS_MAX,
    VIEW,
    VIEW_BYTES_MAX,
    VIEW_CUTS_MAX,
    CompactCheckpoint,
    GossipFrame,
    LinkChallenge,
    LinkProofFrame,
    LogFrame,
    LogRequest,
    ProofFrame,
    Reason,
    SectionFrame,
    SectionRequest,
    StatementFrame,
    StatementRequest,
    View,
    ViewFrame,
    answer_challenge,
    answer_log,
    answer_section,
    answer_statement,
    compact,
    encode_gossip,
    expand,
    parse_gossip,
    verify_link,
)
from noise.protocol.identifiers import make_seq
from noise.protocol.pair_chain import ChainItem, Cut, KnownCuts, new_chain
from tests.protocol.structures import damaged, values
from tests.vectors import golden
from tests.vectors.cast import LOG, ORIGIN, OTHER_ORIGIN, device_of, filler, signer_of
from tests.vectors.make_gossip import ALICES, ALICES_PROOF, BOBS, NOTES, link_proof, refused_frames, refused_proofs
from tests.vectors.make_gossip import frames as example_frames

EXAMPLES = example_frames()
any_frame = st.sampled_from(sorted(GOSSIP_TYPES)).flatmap(lambda name: values(gossip._CODECS[GOSSIP_TYPES[name][1]]))


# --- frames ---


def test_there_is_an_example_of_each_type() -> None:
    assert {type(frame) for frame in EXAMPLES} == {cls for _, cls in GOSSIP_TYPES.values()} == set(gossip._CODECS)
    assert [number for number, _ in GOSSIP_TYPES.values()] == list(range(1, 11))
    assert LINK_FRAMES.isdisjoint(CONTENT_FRAMES)
    assert set(gossip._CODECS) == LINK_FRAMES | CONTENT_FRAMES


@given(any_frame)
@settings(max_examples=150)
def test_frames_round_trip(frame: GossipFrame) -> None:
    assert parse_gossip(encode_gossip(frame)) == frame
    assert type(parse_gossip(encode_gossip(frame))) is type(frame)


@pytest.mark.parametrize("frame", EXAMPLES, ids=lambda frame: type(frame).__name__)
def test_damaged_frames_are_refused_or_say_something_else(frame: GossipFrame, search_factor: int) -> None:
    encoded, random = encode_gossip(frame), Random(1)
    for _ in range(150 * search_factor):
        changed = damaged(encoded, random)
        try:
            other = parse_gossip(changed)
        except DecodeError:
            continue
        assert encode_gossip(other) == changed


@given(st.binary(max_size=80))
def test_parsing_is_total(data: bytes) -> None:
    for number in range(12):
        try:
            frame = parse_gossip(bytes([number]) + data)
        except DecodeError:
            continue
        assert encode_gossip(frame) == bytes([number]) + data


@pytest.mark.parametrize(("why", "encoded"), refused_frames(), ids=[why for why, _ in refused_frames()])
def test_no_frame(why: str, encoded: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        parse_gossip(encoded)
    stored = {case["why"]: case["code"] for case in golden.read("gossip.json")["refused_frames"]}
    assert refused.value.code == stored.get(why, refused.value.code)


def test_what_may_not_come_costs_nothing() -> None:
    for frame in EXAMPLES:
        is_link = type(frame) in LINK_FRAMES
        for payload in (encode_gossip(frame), encode_gossip(frame)[:1] + b"garbage"):
            with pytest.raises(DecodeError) as refused:
                parse_gossip(payload, CONTENT_FRAMES if is_link else LINK_FRAMES)
            assert refused.value.code == "out-of-turn"


def test_sizes_are_bounded_on_both_ends() -> None:
    """What one side may encode, the other reads; and no more."""
    largest = [ProofFrame(bytes(ANSWER_BYTES_MAX)), StatementFrame(1, bytes(16), 0, bytes(ANSWER_BYTES_MAX))]
    for frame in [*largest, LogFrame(1, 1, 0, bytes(ANSWER_BYTES_MAX))]:
        assert len(encode_gossip(frame)) <= GOSSIP_FRAME_BYTES_MAX
    items = tuple(ChainItem(make_seq(1, 0, pos), bytes(32)) for pos in range(PAGE_ITEMS_MAX + 1))
    cuts = tuple(Cut(n, n, bytes(32)) for n in range(VIEW_CUTS_MAX + 1))
    wrong: list[GossipFrame] = [
        ProofFrame(bytes(GOSSIP_FRAME_BYTES_MAX)),
        SectionFrame(1, 1, 0, 0, items),
        ViewFrame(View(None, cuts)),
    ]
    for frame in wrong:
        with pytest.raises(DecodeError):
            encode_gossip(frame)
    assert encode_gossip(SectionFrame(1, 1, 0, 0, items[:-1]))
    assert len(VIEW.encode(View(compact(NOTES[0]), cuts[:-1]))) == 253 <= VIEW_BYTES_MAX


# --- compact checkpoints ---


@pytest.mark.parametrize("note", NOTES)
def test_a_compact_checkpoint_is_the_note(note: bytes) -> None:
    assert expand(compact(note), ORIGIN, LOG.public_key) == note


def test_a_compact_checkpoint_is_of_one_log_and_key() -> None:
    good = compact(NOTES[0])
    wrong: list[tuple[CompactCheckpoint, bytes, bytes]] = [
        (good._replace(size=8), ORIGIN, LOG.public_key),
        (good._replace(root=bytes(32)), ORIGIN, LOG.public_key),
        (good._replace(signature=compact(NOTES[1]).signature), ORIGIN, LOG.public_key),
        (good, OTHER_ORIGIN, LOG.public_key),
        (good, ORIGIN, signer_of("another log").public_key),
        (good, ORIGIN, bytes(32)),
        (good._replace(size=2**64 - 1), ORIGIN, LOG.public_key),
        (good._replace(root=b"short"), ORIGIN, LOG.public_key),
        (good._replace(signature=b"short"), ORIGIN, LOG.public_key),
    ]
    for arguments in wrong:
        with pytest.raises((DecodeError, SignatureError)):
            expand(*arguments)
    with pytest.raises(DecodeError):
        compact(b"no note")


# --- opening a link ---


def test_two_devices_open_a_link() -> None:
    verify_link(ALICES_PROOF, BOBS, ALICES)
    verify_link(answer_challenge(signer_of("bob"), ORIGIN, ALICES), ALICES, BOBS)


@pytest.mark.parametrize(("why", "frame"), refused_proofs(), ids=[why for why, _ in refused_proofs()])
def test_no_proof_for_this_link(why: str, frame: LinkProofFrame) -> None:
    with pytest.raises((DecodeError, SignatureError)) as refused:
        verify_link(frame, BOBS, ALICES)
    assert refused.value.code == next(
        c["code"] for c in golden.read("gossip.json")["link"]["refused"] if c["why"] == why
    )


def test_a_device_does_not_speak_with_itself_or_for_another_provider() -> None:
    """Nor can its own words be sent back to it: it neither proves itself to itself, nor believes itself."""
    with pytest.raises(DecodeError):
        answer_challenge(signer_of("alice"), ORIGIN, ALICES)
    with pytest.raises(DecodeError):
        answer_challenge(signer_of("alice"), OTHER_ORIGIN, BOBS)
    with pytest.raises(DecodeError):
        answer_challenge(signer_of("alice"), ORIGIN, BOBS._replace(origin=OTHER_ORIGIN))
    itself = link_proof(peer_id=ALICES.device_id, nonce=ALICES.nonce)
    with pytest.raises(DecodeError):
        verify_link(itself, ALICES, ALICES)


def test_a_proof_opens_one_link_only() -> None:
    """Any other claim, nonce or listener, in any combination, refuses it."""
    nonces = [BOBS.nonce, filler("later", 32)]
    devices = [device_of("alice"), device_of("bob"), device_of("carol")]
    accepted = 0
    for nonce in nonces:
        for claimed, listener in permutations(devices, 2):
            for origin in (ORIGIN, OTHER_ORIGIN):
                ours = LinkChallenge(origin, listener, nonce)
                try:
                    verify_link(ALICES_PROOF, ours, LinkChallenge(origin, claimed, filler("n", 32)))
                except (DecodeError, SignatureError):
                    continue
                accepted += 1
    assert accepted == 1


@given(st.binary(max_size=200), st.binary(min_size=64, max_size=64))
def test_link_proofs_from_anywhere_are_refused_with_a_code(body: bytes, signature: bytes) -> None:
    for data in (body, b"\x00\x19" + body):
        with pytest.raises((DecodeError, SignatureError)):
            verify_link(LinkProofFrame(data, signature), BOBS, ALICES)


# --- answers ---

CHAIN_ITEMS = [
    ChainItem(make_seq(epoch, 0, pos), filler(f"{epoch} {pos}", 32)) for epoch in (2, 5) for pos in range(300)
]
CHAIN = [new_chain(device_of("alice"), device_of("bob"))]
for _item in CHAIN_ITEMS:
    CHAIN.append(CHAIN[-1].append(*_item))
KNOWN = KnownCuts(CHAIN[300].cut_at(2), [CHAIN[600].cut_at(5)], 8)


def items(after_length: int, count: int) -> list[ChainItem]:
    return CHAIN_ITEMS[after_length : after_length + count]


def forgotten(*_subject: Any) -> Any:
    raise NoiseError("gone", code="evidence-dropped")


@pytest.mark.parametrize(
    ("epoch", "after_length", "reason", "first", "count"),
    [
        (2, 0, Reason.NONE, 0, 256),
        (2, 256, Reason.NONE, 256, 44),
        (4, 299, Reason.NONE, 299, 1),
        (4, 300, Reason.NONE, 0, 0),
        (4, 2**64 - 1, Reason.NONE, 0, 0),
        (5, 300, Reason.NONE, 300, 256),
        (7, 556, Reason.NONE, 556, 44),
        (8, 0, Reason.LATER, 0, 0),
        (2**64 - 1, 0, Reason.LATER, 0, 0),
        (1, 0, Reason.FORGOTTEN, 0, 0),
    ],
)
def test_pages(epoch: int, after_length: int, reason: Reason, first: int, count: int) -> None:
    """A page is full or the last; nothing after the epoch is in it."""
    request = SectionRequest(7, epoch, after_length)
    expected = SectionFrame(7, epoch, after_length, reason, tuple(CHAIN_ITEMS[first : first + count]))
    assert answer_section(request, KNOWN, items) == expected
    assert encode_gossip(expected)


@pytest.mark.parametrize("reader", [forgotten, lambda a, n: items(a, n)[1:], lambda a, n: items(a, n + 1)])
def test_a_page_that_is_not_kept_is_not_half_shown(reader: Callable[[int, int], list[ChainItem]]) -> None:
    """A short page would look like a lie of ours."""
    assert answer_section(SectionRequest(7, 2, 0), KNOWN, reader) == SectionFrame(7, 2, 0, Reason.FORGOTTEN, ())


def raising(code: str) -> Callable[[Any], bytes]:
    def show(_subject: Any) -> bytes:
        raise NoiseError("words for ourselves", code=code)

    return show


@pytest.mark.parametrize(
    ("show", "reason", "shown"),
    [
        (lambda subject: repr(subject).encode(), Reason.NONE, True),
        (raising("evidence-future"), Reason.LATER, False),
        (raising("evidence-dropped"), Reason.FORGOTTEN, False),
        (raising("malformed"), Reason.UNWILLING, False),
        (lambda subject: b"", Reason.UNWILLING, False),
        (lambda subject: bytes(ANSWER_BYTES_MAX), Reason.NONE, True),
        (lambda subject: bytes(ANSWER_BYTES_MAX + 1), Reason.UNWILLING, False),
    ],
)
def test_statements_and_log_openings(show: Callable[[Any], bytes], reason: Reason, shown: bool) -> None:
    seq = make_seq(3, 0, 1)
    statement = answer_statement(StatementRequest(7, seq), show)
    assert statement == StatementFrame(7, seq, reason, show(seq) if shown else b"")
    opened = answer_log(LogRequest(8, 3), show)
    assert opened == LogFrame(8, 3, reason, show(3) if shown else b"")
    assert encode_gossip(statement)
    assert encode_gossip(opened)
