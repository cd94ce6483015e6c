"""What stands in the section of an exported view, and that files alone bring out a lie whoever read one before."""

import pytest

from noise.protocol.exported_view import ExportedSection, open_view
from noise.protocol.identifiers import parse_seq
from noise_client.retention import DEFAULT_POLICY, Policy, Window
from noise_client.verdicts import Verdict
from tests.client.witnesses import Keeper, omit
from tests.protocol.liar import Liar
from tests.protocol.story import letter
from tests.vectors.cast import ORIGIN


def show(writer: Keeper, reader: Keeper) -> None:
    """The reader imports the writer's file, each in a process of its own."""
    writer.open()
    data = writer.witness.export(writer.device, reader.id)
    reader.open()
    reader.witness.hear_exported(data)


def section_for(writer: Keeper, reader: Keeper) -> ExportedSection:
    section = open_view(writer.witness.export(writer.device, reader.id), ORIGIN).section
    assert section is not None
    return section


def couple(liar: Liar, policy: Policy = DEFAULT_POLICY) -> tuple[Keeper, Keeper]:
    return Keeper("alice", policy).follow(liar), Keeper("bob", policy).follow(liar)


def talk(n_epochs: int, liar: Liar | None = None) -> Liar:
    """bob writes once in every epoch."""
    liar = liar or Liar()
    for _ in range(n_epochs):
        liar.commit(letter("bob", 1 + len(liar.epochs), b"x"))
    return liar


@pytest.mark.parametrize("n_first", [1, 12])
@pytest.mark.parametrize("n_later", [0, 12])
def test_a_lie_is_exposed_by_files_where_only_one_side_knows_of_a_match(n_first: int, n_later: int) -> None:
    liar = talk(n_first)
    alice, bob = couple(liar)
    show(bob, alice)
    assert alice.store.pair(bob.id) is not None
    assert bob.store.pair(alice.id) is None
    liar.commit(letter("alice", 1, b"dropped"))
    omit(liar, "bob")
    talk(n_later, liar)
    for keeper in (alice, bob):
        keeper.follow(liar)
    for _ in range(3):
        show(alice, bob)
        show(bob, alice)
    assert [(keeper.verdict, keeper.kinds) for keeper in (alice, bob)] == [(Verdict.EXPOSED, ["Omission"])] * 2


def test_a_file_tells_where_the_last_match_was_and_how_the_chain_stands() -> None:
    liar = talk(3)
    alice, bob = couple(liar)
    assert [cut.epoch for cut in section_for(alice, bob).cuts] == [2]
    show(bob, alice)
    assert [cut.epoch for cut in section_for(alice, bob).cuts] == [2]
    talk(2, liar)
    alice.follow(liar)
    section = section_for(alice, bob)
    assert [(cut.epoch, cut.length) for cut in section.cuts] == [(2, 3), (4, 5)]
    assert (section.after_length, len(section.items)) == (0, 5), "bob may not know of the match"
    show(alice, bob)
    pair = bob.store.pair(alice.id)
    assert pair is not None
    assert (pair.matched_epoch, pair.matched_length) == (2, 3), "the newer cut is of an epoch that bob has not seen"


def test_a_section_begins_where_the_chain_is_kept() -> None:
    liar = talk(5)
    alice, bob = couple(liar, Window(2))
    alice.witness.prune()
    section = section_for(alice, bob)
    assert (section.after_length, len(section.items)) == (3, 2)
    assert [cut.length for cut in section.cuts] == [3, 5], "from there on alice can answer"


@pytest.mark.parametrize(("items_max", "expected"), [(4, (1, 4)), (5, (0, 5)), (6, (0, 5))])
def test_of_a_long_chain_the_newest_items_are_shown(
    monkeypatch: pytest.MonkeyPatch, items_max: int, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr("noise_client.exporting.EXPORTED_ITEMS_MAX", items_max)
    alice, bob = couple(talk(5))
    section = section_for(alice, bob)
    assert (section.after_length, len(section.items)) == expected
    assert [parse_seq(item.seq)[0] for item in section.items] == list(range(expected[0], 5))
