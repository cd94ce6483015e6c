"""The tables of the zoo: of what each lie is convicted, who noticed, and how soon; and which actor that comes down to.

Knows nothing of how evenings go. A document holds both tables between two marks.
"""

from collections.abc import Iterable
from typing import NamedTuple

from noise.demo.zoo.lie import Facts, NoticedBy
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.verdict import PROVIDER
from noise.protocol.identifiers import Role
from tests.zoo.convicting import Case, is_provable, knowing

BEGIN, END = "<!-- zoo table: begin -->", "<!-- zoo table: end -->"
_COLUMNS = ("lie", "convicted of", "accused", "noticed by", "epochs over a link", "without", "proof")
_NOTICED_BY = {NoticedBy.VICTIM: "the victim", NoticedBy.SENDER: "the sender", NoticedBy.PAIR: "two clients"}
NOTHING = "–"
WRONG = "**"
"""Around what must not be."""

NOT_NOTICED = f"{WRONG}NOT NOTICED{WRONG}"
_STAGE_COLUMNS = ("lie", "told by", "convicted of", "named", "if it does not answer", "proof")
_STAGE_LEGEND = """
With three inboxes and three outboxes: the actor on the message's way lies, and all others are honest, and answer when
they are asked for their custody. *Named* is that one actor, by role and number; *nobody*: the proof convicts the
provider, and leads to none of its actors. *If it does not answer*, others must have what it was given and what it made
of that; where they do not, it is unresponsive, which is a suspicion.
"""
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
        return (facts.name, NOT_NOTICED, *[NOTHING] * (len(_COLUMNS) - 2))
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


class StageRow(NamedTuple):
    """One lie, told by actors of one role, on two evenings: they answer when they are asked for custody, or do not."""

    facts: Facts
    role: Role
    asked: Case
    silent: Case


def format_stage_row(row: StageRow) -> tuple[str, ...]:
    """As many cells as there are columns of the table of stages."""
    kind, named, size = _blame(row.asked, row.role)
    silent = ", ".join(_blame(row.silent, row.role)[:2])
    return (row.facts.name, row.role.name.lower(), kind, named, silent, size)


def _blame(case: Case, role: Role) -> tuple[str, str, str]:
    """(of what, who is named, how large the proof is) by the proof of who noticed first."""
    if not case.proof:
        return NOTHING, NOT_NOTICED, NOTHING
    blame = case.blame(case.proof)
    liars = [str(told.by) for told in case.told if told.by is not None and told.by.role is role]
    named = f"the {role.name.lower()}" if blame.actor in liars else f"{WRONG}{blame.actor}{WRONG}"
    if blame.actor == PROVIDER:
        named = "nobody"
    return blame.kind, named, f"{len(blame.proof)} bytes" if blame.is_proven else NOTHING


def make_table(rows: Iterable[Row]) -> str:
    """Markdown, with an end of line."""
    return _markdown(_COLUMNS, map(format_row, rows)) + _LEGEND


def make_stage_table(rows: Iterable[StageRow]) -> str:
    """Markdown, with an end of line."""
    return _markdown(_STAGE_COLUMNS, map(format_stage_row, rows)) + _STAGE_LEGEND


def _markdown(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def rows_in(document: str) -> list[list[list[str]]]:
    """The rows of a document's tables, cell by cell. Raises NoiseError when it has no place for them."""
    begin, end = _place(document)
    tables: list[list[list[str]]] = []
    for line in document[begin:end].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if tuple(cells) in {_COLUMNS, _STAGE_COLUMNS}:
            tables.append([])
        elif cells and set(cells) != {"---"}:
            tables[-1].append(cells)
    return tables


def with_table(document: str, table: str) -> str:
    """A document with another table in its place. Raises NoiseError when it has no place for one."""
    begin, end = _place(document)
    return f"{document[:begin]}\n\n{table}\n{document[end:]}"


def _place(document: str) -> tuple[int, int]:
    if document.count(BEGIN) != 1 or document.count(END) != 1 or document.index(BEGIN) > document.index(END):
        raise NoiseError(f"there is no place for a table: write {BEGIN} and {END} on two lines", code="no-place")
    return document.index(BEGIN) + len(BEGIN), document.index(END)
