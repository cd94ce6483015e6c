"""Rosters that contradict each other or the log, and statements of actors whose time had ended.

Knows nothing of what the statements commit to. A roster binds epochs to come: an honest root signs one of each version,
an honest log has each epoch under the roster that binds it, and an actor's incarnation ends with the last roster that
names it. Who keeps a key beyond that, or has stolen it, convicts that actor and nobody else.
"""

from typing import Annotated, Any, NamedTuple, get_args

from noise.protocol.checkpoint import log_name_of, verify_checkpoint
from noise.protocol.encoding import Bytes32, Codec, Vec16, optional, struct_codec
from noise.protocol.errors import DecodeError, SignatureError
from noise.protocol.evidence.openings import LOG_OPENING, LogOpening, open_log
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import PROVIDER, NotProven, Verdict
from noise.protocol.identifiers import Actor, Role, parse_actor
from noise.protocol.signing import SIGNED, Signed, verify_strict
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    MANIFEST,
    MERGE_SHEET,
    ROUTE_SHEET,
    Roster,
    RosterEntry,
)

ROOT = "root"

_LOG = Actor(Role.LOG, 0, 0)
_NOTE: Codec[bytes] = get_args(Vec16)[1]
_STATEMENTS: dict[Role, tuple[str, Codec[Any]]] = {
    Role.INBOX: ("manifest", MANIFEST),
    Role.ROUTER: ("route", ROUTE_SHEET),
    Role.RECEIVER: ("merge", MERGE_SHEET),
    Role.OUTBOX: ("head", EPOCH_HEAD),
    Role.SEQUENCER: ("open", EPOCH_OPEN),
}
_ACTOR_AT = 34
"""Of any statement: behind its record type and origin."""


class RosterEquivocation(NamedTuple):
    """Two rosters, by hash, that no honest root signs both, or no honest log obeys both.

    Without `record`: of one version. With it: the record of an epoch that `other` binds, under `one`, which is older.
    """

    one: Bytes32
    other: Bytes32
    record: Annotated[LogOpening | None, optional(LOG_OPENING)]


ROSTER_EQUIVOCATION = struct_codec(RosterEquivocation)


class PosthumousStatement(NamedTuple):
    """What an incarnation signed, by the key that roster `older` gives it, for an epoch that roster `newer` binds.

    `newer` names another incarnation, or no such actor. Either a statement or a checkpoint note of the log is there.
    `record`: of an earlier epoch that ran under `newer`. By then the end of the incarnation was there to be seen: a
    roster that the root signs afterwards ends nothing, nor does the first epoch of a new one, which a crash may have
    cut off under the roster before.
    """

    older: Bytes32
    newer: Bytes32
    statement: Annotated[Signed | None, optional(SIGNED)]
    note: Annotated[bytes | None, optional(_NOTE)]
    record: Annotated[LogOpening, LOG_OPENING]


POSTHUMOUS_STATEMENT = struct_codec(PosthumousStatement)


def verify_roster_equivocation(rosters: Rosters, finding: RosterEquivocation) -> Verdict:
    """With a record it names the provider: a root that signs too late and a log that obeys too late look alike."""
    one, other = rosters.get(finding.one), rosters.get(finding.other)
    if finding.record is not None:
        return _verify_retroactive(rosters, finding.one, other, finding.record)
    if finding.one == finding.other:
        raise NotProven("one roster twice")
    if one.version != other.version:
        raise NotProven("rosters of two versions")
    detail = f"the root signed two different rosters of version {one.version}"
    epoch = min(one.valid_from_epoch, other.valid_from_epoch)
    return Verdict("RosterEquivocation", ROOT, rosters.origin, epoch, detail)


def _verify_retroactive(rosters: Rosters, roster_hash: bytes, other: Roster, record: LogOpening) -> Verdict:
    log = open_log(rosters, record)
    if log.record.roster_hash != roster_hash:
        raise NotProven("the record names another roster")
    if not (log.roster.version < other.version and other.valid_from_epoch <= log.epoch):
        raise NotProven("the other roster is none that replaced the record's by then")
    if log.note.key != other.entry(_LOG).key:
        raise NotProven("a key of the log signed that the other roster had replaced: it speaks for nobody else")
    detail = (
        f"epoch {log.epoch} ran under the roster of version {log.roster.version}, and that of version {other.version} "
        f"binds epochs from {other.valid_from_epoch} on"
    )
    return Verdict("RosterEquivocation", PROVIDER, rosters.origin, log.epoch, detail)


def verify_posthumous_statement(rosters: Rosters, finding: PosthumousStatement) -> Verdict:
    older, newer = rosters.get(finding.older), rosters.get(finding.newer)
    if older.version >= newer.version:
        raise NotProven("the rosters are not an older and a newer one")
    if finding.statement is not None and finding.note is None:
        what, entry, epoch = _open_statement(rosters.origin, older, finding.statement)
    elif finding.note is not None and finding.statement is None:
        what, entry, epoch = _open_note(rosters.origin, older, finding.note)
    else:
        raise DecodeError("either a statement or a checkpoint was signed")
    actor = parse_actor(entry.actor)
    log = open_log(rosters, finding.record)
    if log.record.roster_hash != finding.newer:
        raise NotProven("the record names another roster than the newer one")
    if not log.epoch < epoch:
        raise NotProven("no epoch before this one is shown to have run under the newer roster")
    if any((e.actor, e.incarnation) == (entry.actor, entry.incarnation) for e in newer.actors):
        raise NotProven("the newer roster names this incarnation too")
    detail = (
        f"incarnation {entry.incarnation} of {actor} signed {what} for epoch {epoch}; the roster of version "
        f"{newer.version} had ended it, and epoch {log.epoch} ran under that"
    )
    return Verdict("PosthumousStatement", str(actor), rosters.origin, epoch, detail)


def _open_statement(origin: bytes, roster: Roster, signed: Signed) -> tuple[str, RosterEntry, int]:
    """(what it is, who signed it, for which epoch)."""
    actor = parse_actor(signed.body[_ACTOR_AT : _ACTOR_AT + 5])
    if actor.role not in _STATEMENTS:
        raise NotProven(f"{actor} makes no statements")
    label, codec = _STATEMENTS[actor.role]
    statement = codec.decode(signed.body)
    entry = roster.entry(actor)
    if (statement.origin, statement.incarnation) != (origin, entry.incarnation):
        raise NotProven("the statement of another origin, or of an incarnation that the older roster does not name")
    verify_strict(entry.key, signed.signature, label, origin, signed.body)
    return f"its {label}", entry, statement.epoch


def _open_note(origin: bytes, roster: Roster, note: bytes) -> tuple[str, RosterEntry, int]:
    """Like `_open_statement`. The epoch of a checkpoint: the last that is in its log."""
    entry = roster.entry(_LOG)
    try:
        size = verify_checkpoint(note, log_name_of(origin), entry.key).size
    except (DecodeError, SignatureError) as error:
        raise NotProven(f"not a checkpoint by the log key of the older roster: {error.detail}") from None
    return f"a checkpoint of {size} epochs", entry, size - 1
