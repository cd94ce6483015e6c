"""Equivocation: two statements that one key of one actor signed for one slot, that is incarnation and epoch.

Knows nothing of what the statements commit to: an honest actor never changes the bytes of a slot.
"""

from contextlib import suppress
from typing import Annotated, Any, NamedTuple, TypeAlias

from noise.protocol.encoding import Codec, struct_codec
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven, Verdict
from noise.protocol.frames import SIGNED_MANIFEST, SignedManifest
from noise.protocol.identifiers import Role, parse_actor
from noise.protocol.signing import SIGNED, Signed
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    MANIFEST,
    MERGE_SHEET,
    ROUTE_SHEET,
    EpochHead,
    EpochOpen,
    Manifest,
    MergeSheet,
    RouteSheet,
)


class ManifestEquivocation(NamedTuple):
    """Two manifests of one inbox for one epoch."""

    one: Annotated[SignedManifest, SIGNED_MANIFEST]
    other: Annotated[SignedManifest, SIGNED_MANIFEST]


MANIFEST_EQUIVOCATION = struct_codec(ManifestEquivocation)


class StageEquivocation(NamedTuple):
    """Two statements of one actor for one epoch: route sheets, merge sheets, heads, or the sequencer's."""

    one: Annotated[Signed, SIGNED]
    other: Annotated[Signed, SIGNED]


STAGE_EQUIVOCATION = struct_codec(StageEquivocation)

Statement: TypeAlias = Manifest | RouteSheet | MergeSheet | EpochHead | EpochOpen


class _Sort(NamedTuple):
    """A sort of statements: its signature label, who signs it, and what a person calls several."""

    codec: Codec[Any]
    label: str
    role: Role
    noun: str


_SORTS = (
    _Sort(ROUTE_SHEET, "route", Role.ROUTER, "route sheets"),
    _Sort(MERGE_SHEET, "merge", Role.RECEIVER, "merge sheets"),
    _Sort(EPOCH_HEAD, "head", Role.OUTBOX, "heads"),
    _Sort(EPOCH_OPEN, "open", Role.SEQUENCER, "openings"),
)


def verify_manifest_equivocation(rosters: Rosters, finding: ManifestEquivocation) -> Verdict:
    one, other = (MANIFEST.decode(signed.body) for signed in finding)
    signed = [Signed(*finding.one), Signed(*finding.other)]
    accused = _check_slot(rosters, "manifest", Role.INBOX, one, other, signed)
    detail = f"{accused} signed two different manifests for its lane in epoch {one.epoch}"
    return Verdict("ManifestEquivocation", accused, rosters.origin, one.epoch, _with_differences(detail, one, other))


def verify_stage_equivocation(rosters: Rosters, finding: StageEquivocation) -> Verdict:
    sort, one = _open_statement(finding.one.body)
    other: Statement = sort.codec.decode(finding.other.body)
    accused = _check_slot(rosters, sort.label, sort.role, one, other, list(finding))
    detail = f"{accused} signed two different {sort.noun} for epoch {one.epoch}"
    return Verdict("StageEquivocation", accused, rosters.origin, one.epoch, _with_differences(detail, one, other))


def _open_statement(body: bytes) -> tuple[_Sort, Statement]:
    """What a stage signed, which its record type tells. Raises DecodeError."""
    for sort in _SORTS:
        with suppress(DecodeError):
            return sort, sort.codec.decode(body)
    raise DecodeError("no statement of a stage")


def _check_slot(
    rosters: Rosters,
    label: str,
    role: Role,
    one: Statement,
    other: Statement,
    signed: list[Signed],
) -> str:
    """The actor whose one slot both are for. `signed`: the two statements."""
    if one == other:
        raise NotProven("one statement twice")
    if (one.origin, one.actor, one.incarnation, one.epoch) != (
        rosters.origin,
        other.actor,
        other.incarnation,
        other.epoch,
    ) or other.origin != rosters.origin:
        raise NotProven("statements for two slots, or of another origin")
    actor = parse_actor(one.actor)
    if actor.role is not role:
        raise NotProven(f"{actor} makes no such statements")
    rosters.slot_key(signed, label, actor, one.incarnation, one.epoch)
    return str(actor)


def _with_differences(detail: str, one: Statement, other: Statement) -> str:
    differing = [name for name, a, b in zip(one._fields, one, other, strict=True) if a != b]
    return f"{detail}; they differ in {', '.join(differing)}"
