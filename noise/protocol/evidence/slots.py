"""Equivocation: two statements that one key of one actor signed for one slot, that is incarnation and epoch.

Knows nothing of what the statements commit to: an honest actor never changes the bytes of a slot.
"""

from typing import Annotated, NamedTuple

from noise.protocol.delta import SIGNED_HEAD, SignedHead
from noise.protocol.encoding import struct_codec
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.verdict import NotProven, Verdict
from noise.protocol.frames import SIGNED_MANIFEST, SignedManifest
from noise.protocol.identifiers import Role, parse_actor
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_HEAD, MANIFEST, EpochHead, Manifest


class ManifestEquivocation(NamedTuple):
    """Two manifests of one inbox for one epoch."""

    one: Annotated[SignedManifest, SIGNED_MANIFEST]
    other: Annotated[SignedManifest, SIGNED_MANIFEST]


MANIFEST_EQUIVOCATION = struct_codec(ManifestEquivocation)


class StageEquivocation(NamedTuple):
    """Two heads of one outbox for one epoch."""

    one: Annotated[SignedHead, SIGNED_HEAD]
    other: Annotated[SignedHead, SIGNED_HEAD]


STAGE_EQUIVOCATION = struct_codec(StageEquivocation)


def verify_manifest_equivocation(rosters: Rosters, finding: ManifestEquivocation) -> Verdict:
    one, other = (MANIFEST.decode(signed.body) for signed in finding)
    signed = [Signed(*finding.one), Signed(*finding.other)]
    accused = _check_slot(rosters, "manifest", Role.INBOX, one, other, signed)
    detail = f"{accused} signed two different manifests for its lane in epoch {one.epoch}"
    return Verdict("ManifestEquivocation", accused, rosters.origin, one.epoch, _with_differences(detail, one, other))


def verify_stage_equivocation(rosters: Rosters, finding: StageEquivocation) -> Verdict:
    one, other = (EPOCH_HEAD.decode(signed.body) for signed in finding)
    signed = [Signed(*finding.one), Signed(*finding.other)]
    accused = _check_slot(rosters, "head", Role.OUTBOX, one, other, signed)
    detail = f"{accused} signed two different heads for epoch {one.epoch}"
    return Verdict("StageEquivocation", accused, rosters.origin, one.epoch, _with_differences(detail, one, other))


def _check_slot(
    rosters: Rosters,
    label: str,
    role: Role,
    one: Manifest | EpochHead,
    other: Manifest | EpochHead,
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


def _with_differences(detail: str, one: Manifest | EpochHead, other: Manifest | EpochHead) -> str:
    differing = [name for name, a, b in zip(one._fields, one, other, strict=True) if a != b]
    return f"{detail}; they differ in {', '.join(differing)}"
