"""Exported views: one device's word in a file, which answers a dispute's questions as far as it goes."""

from random import Random

import pytest

from noise.protocol.errors import DecodeError, SignatureError
from noise.protocol.exported_view import (
    EXPORTED_BYTES_MAX,
    EXPORTED_CHECKPOINTS_MAX,
    EXPORTED_FILE,
    EXPORTED_ITEMS_MAX,
    ExportedSection,
    ExportedView,
    SharedTestimony,
    answer_from_view,
    open_view,
    sign_view,
)
from noise.protocol.gossip import Reason, SectionFrame, SectionRequest, StatementFrame, StatementRequest, answer_section
from noise.protocol.identifiers import make_seq
from noise.protocol.pair_chain import ChainItem, Cut, KnownCuts, new_chain
from tests.protocol.structures import damaged
from tests.vectors import golden
from tests.vectors.cast import ORIGIN, device_of, filler, signer_of
from tests.vectors.make_gossip import exported, refused_files

ALICE = signer_of("alice")
ITEMS = [ChainItem(make_seq(epoch, 0, pos), filler(f"{epoch} {pos}", 32)) for epoch in (2, 5) for pos in range(300)]
CHAIN = new_chain(device_of("alice"), device_of("bob"))
CUTS = (CHAIN.extend(ITEMS[:300]).cut_at(2), CHAIN.extend(ITEMS).cut_at(7))
KNOWN = KnownCuts(CHAIN.cut_at(0), [CUTS[0], CUTS[1]._replace(epoch=5)], 8)
SECTION = ExportedSection(device_of("bob"), CUTS, 100, tuple(ITEMS[100:]), (SharedTestimony(ITEMS[7].seq, b"shown"),))


def test_a_file_says_what_was_signed() -> None:
    for view in (exported(), exported()._replace(section=None), exported()._replace(section=SECTION)):
        assert open_view(sign_view(ALICE, view), ORIGIN) == view


@pytest.mark.parametrize(("why", "data"), refused_files(), ids=[why for why, _ in refused_files()])
def test_no_file(why: str, data: bytes) -> None:
    with pytest.raises((DecodeError, SignatureError)) as refused:
        open_view(data, ORIGIN)
    assert refused.value.code == next(c["code"] for c in golden.read("gossip.json")["refused_files"] if c["why"] == why)


def test_damaged_files_are_refused(search_factor: int) -> None:
    """Every byte is under the signature, or the signature."""
    data, random = sign_view(ALICE, exported()), Random(1)
    for _ in range(300 * search_factor):
        changed = damaged(data, random)
        if changed != data:
            with pytest.raises((DecodeError, SignatureError)):
                open_view(changed, ORIGIN)
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            open_view(data[:size], ORIGIN)


def test_nobody_signs_for_another() -> None:
    with pytest.raises(SignatureError):
        sign_view(signer_of("mallory"), exported())


def test_what_is_written_can_be_read() -> None:
    """The bounds hold on both sides."""
    view, testimony = exported(), SharedTestimony(bytes(16), bytes(200_000))
    items = tuple(ChainItem(make_seq(1, 0, pos), bytes(32)) for pos in range(EXPORTED_ITEMS_MAX + 1))
    full = SECTION._replace(items=items[:-1], testimonies=(testimony,) * 8)
    largest = view._replace(section=full, checkpoints=view.checkpoints[:1] * EXPORTED_CHECKPOINTS_MAX)
    assert open_view(sign_view(ALICE, largest), ORIGIN) == largest
    wrong: list[ExportedView] = [
        view._replace(section=SECTION._replace(items=items)),
        view._replace(section=SECTION._replace(testimonies=(testimony,) * 17)),
        view._replace(section=SECTION._replace(testimonies=(testimony,) * 11)),
        view._replace(section=SECTION._replace(cuts=CUTS * 2)),
        view._replace(checkpoints=view.checkpoints * EXPORTED_CHECKPOINTS_MAX),
    ]
    for refused in wrong:
        with pytest.raises(DecodeError):
            sign_view(ALICE, refused)
    with pytest.raises(DecodeError) as error:
        open_view(bytes(EXPORTED_BYTES_MAX + 1), ORIGIN)
    assert error.value.code == "file-too-large"


@pytest.mark.parametrize("epoch", [2, 7])
@pytest.mark.parametrize("after_length", [100, 101, 299, 300, 301, 344, 600, 601, 2**64 - 1])
def test_a_file_answers_as_its_author_does(epoch: int, after_length: int) -> None:
    request = SectionRequest(9, epoch, after_length)
    assert answer_from_view(SECTION, request) == answer_section(request, KNOWN, lambda a, n: ITEMS[a : a + n])


@pytest.mark.parametrize(
    ("section", "request_"),
    [
        (SECTION, SectionRequest(9, 2, 99)),
        (SECTION._replace(after_length=300, items=SECTION.items[200:]), SectionRequest(9, 2, 0)),
        (SECTION, SectionRequest(9, 5, 100)),
        (SECTION._replace(items=SECTION.items[:100]), SectionRequest(9, 2, 100)),
        (SECTION._replace(after_length=2**64 - 1), SectionRequest(9, 2, 100)),
        (SECTION._replace(cuts=(Cut(2, 2**64 - 1, bytes(32)),)), SectionRequest(9, 2, 2**64 - 2)),
    ],
)
def test_what_a_file_does_not_hold(section: ExportedSection, request_: SectionRequest) -> None:
    assert answer_from_view(section, request_) == SectionFrame(*request_, Reason.FORGOTTEN, ())


def test_testimonies_in_a_file() -> None:
    for seq, reason, testimony in ((ITEMS[7].seq, Reason.NONE, b"shown"), (ITEMS[8].seq, Reason.FORGOTTEN, b"")):
        assert answer_from_view(SECTION, StatementRequest(9, seq)) == StatementFrame(9, seq, reason, testimony)


def test_the_signature_is_over_the_body_as_it_stands() -> None:
    data = sign_view(ALICE, exported())
    body, signature = EXPORTED_FILE.decode(data)
    assert data == len(body).to_bytes(4, "big") + body + signature
