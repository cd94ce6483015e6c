"""The table of the zoo: for each lie what it is convicted of, who noticed, how soon, and how large the proof is.

Knows nothing of how evenings go. A document holds the table between two marks.
"""

from collections.abc import Iterable
from typing import NamedTuple

from noise.protocol.errors import NoiseError
from tests.zoo.convicting import Case, is_provable, knowing
from tests.zoo.lie import Facts, NoticedBy

BEGIN, END = "<!-- zoo table: begin -->", "<!-- zoo table: end -->"
_COLUMNS = ("lie", "convicted of", "accused", "noticed by", "epochs over a link", "without", "proof")
_NOTICED_BY = {NoticedBy.VICTIM: "the victim", NoticedBy.SENDER: "the sender", NoticedBy.PAIR: "two clients"}
NOTHING = "–"
_LEGEND = """
Epochs are counted from the lie until the first client knew, then until both whom it concerns did; 0 is the epoch of the
lie itself. *Over a link*: the two also compare past the provider. *Without*: only in what they send each other, sealed,
through it. A client that was shown what does not verify ends its connection, so that nobody hears of it without a link.
Staleness is a matter of time, not of epochs.
"""


class Row(NamedTuple):
    """One lie, told on two evenings: with a gossip link, and without; None: there was no such evening."""

    facts: Facts
    linked: Case
    sealed: Case | None


def format_row(row: Row) -> tuple[str, ...]:
    """As many cells as there are columns. A lie that nobody noticed says so."""
    facts, case = row.facts, row.linked
    known_to = knowing(facts)
    if case.epochs_until(*known_to) is None:
        return (facts.name, "**NOT NOTICED**", *[NOTHING] * (len(_COLUMNS) - 2))
    verdict, accused, size = case.noticed[0].verdict, NOTHING, NOTHING
    if case.proof:
        accused, size = case.judge(case.proof).accused, f"{len(case.proof)} bytes"
    return (
        *(facts.name, verdict if is_provable(facts) else f"nothing; {verdict}"),
        *(accused, _NOTICED_BY[facts.noticed_by], _epochs(facts, case), _epochs(facts, row.sealed), size),
    )


def _epochs(facts: Facts, case: Case | None) -> str:
    """Until the first knew, and until all knew who should. Staleness is a matter of time, not of epochs."""
    if case is None or facts.verdicts[0] == "stale":
        return NOTHING
    first, both = case.epochs_until(case.noticed[0].who), case.epochs_until(*knowing(facts))
    return str(first) if first == both else f"{first}, then {both}"


def make_table(rows: Iterable[Row]) -> str:
    """Markdown, with an end of line."""
    lines = [_COLUMNS, tuple("---" for _ in _COLUMNS), *map(format_row, rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines) + _LEGEND


def rows_in(document: str) -> dict[str, list[str]]:
    """The cells of a document's table, by lie. Raises NoiseError when it has no place for one."""
    begin, end = _place(document)
    lines = [line.strip("|").split("|") for line in document[begin:end].splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells] for cells in lines[2:]}


def with_table(document: str, table: str) -> str:
    """A document with another table in its place. Raises NoiseError when it has no place for one."""
    begin, end = _place(document)
    return f"{document[:begin]}\n\n{table}\n{document[end:]}"


def _place(document: str) -> tuple[int, int]:
    if document.count(BEGIN) != 1 or document.count(END) != 1 or document.index(BEGIN) > document.index(END):
        raise NoiseError(f"there is no place for a table: write {BEGIN} and {END} on two lines", code="no-place")
    return document.index(BEGIN) + len(BEGIN), document.index(END)
