"""What a provider shows of its committed log to anybody who asks: the structures of its HTTP answers.

Knows nothing of HTTP, and trusts nothing: whoever reads an answer checks it against what it has verified.
"""

from typing import Annotated, NamedTuple

from noise.protocol.delta import SIGNED_HEAD, SIGNED_ROSTER, SignedHead, SignedRoster
from noise.protocol.encoding import Bytes32, Bytes64, Codec, Hashes, Text, embedded, list_of, struct_codec
from noise.protocol.frames import SIGNED_MANIFEST, SignedManifest
from noise.protocol.statements import EPOCH_OPEN, EPOCH_RECORD, MERGE_SHEET, ROUTE_SHEET


class Inclusion(NamedTuple):
    """Leaf `epoch` of the log, and its RFC 9162 inclusion proof in the tree of the size that was asked for."""

    leaf_hash: Bytes32
    proof: Hashes


class SignedRoute(NamedTuple):
    body: Annotated[bytes, embedded(ROUTE_SHEET)]
    signature: Bytes64


SIGNED_ROUTE = struct_codec(SignedRoute)


class SignedMerge(NamedTuple):
    body: Annotated[bytes, embedded(MERGE_SHEET)]
    signature: Bytes64


SIGNED_MERGE = struct_codec(SignedMerge)


class SignedOpen(NamedTuple):
    body: Annotated[bytes, embedded(EPOCH_OPEN)]
    signature: Bytes64


SIGNED_OPEN = struct_codec(SignedOpen)


class EpochStatements(NamedTuple):
    """An epoch as its actors signed it.

    `note`: the checkpoint of size epoch + 1. The manifests, route sheets, merge sheets, heads and the sequencer's
    statement, in this order and each by actor, are the leaves of the record's `statements_root`.
    """

    record: Annotated[bytes, embedded(EPOCH_RECORD)]
    note: Text
    manifests: Annotated[tuple[SignedManifest, ...], list_of(SIGNED_MANIFEST)]
    routes: Annotated[tuple[SignedRoute, ...], list_of(SIGNED_ROUTE)]
    merges: Annotated[tuple[SignedMerge, ...], list_of(SIGNED_MERGE)]
    heads: Annotated[tuple[SignedHead, ...], list_of(SIGNED_HEAD)]
    opened: Annotated[SignedOpen, SIGNED_OPEN]


INCLUSION = struct_codec(Inclusion)
EPOCH_STATEMENTS = struct_codec(EpochStatements)
ROSTERS: Codec[tuple[SignedRoster, ...]] = list_of(SIGNED_ROSTER)
