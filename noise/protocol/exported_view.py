"""A signed view as a file: what one client knows about its provider, for comparison where no connection leads.

Knows nothing of disks. A file answers the questions of a dispute as its author would, as far as it goes: the same
machine runs over both. The signature says who speaks, and convicts nobody: only what the provider signed counts.
"""

from typing import Annotated, NamedTuple

from noise.protocol.encoding import U64, Bytes16, Bytes32, Bytes64, Vec32, list_of, optional, struct_codec
from noise.protocol.errors import DecodeError, SignatureError
from noise.protocol.gossip import (
    COMPACT_CHECKPOINT,
    PAGE_ITEMS_MAX,
    VIEW_CUTS_MAX,
    CompactCheckpoint,
    Reason,
    SectionFrame,
    SectionRequest,
    StatementFrame,
    StatementRequest,
)
from noise.protocol.identifiers import device_id_of
from noise.protocol.pair_chain import CHAIN_ITEM, CUT, ChainItem, Cut
from noise.protocol.signing import Signer, verify_strict

EXPORTED_BYTES_MAX = 2 << 20
"""A file: the most items, and some testimonies."""

EXPORTED_CHECKPOINTS_MAX = 64
"""Checkpoints in a file: the distinguished ones that a client keeps, and its newest."""

EXPORTED_ITEMS_MAX = 8192
"""Chain items in a file: 384 KiB. Of a longer chain the newest are in it."""

EXPORTED_TESTIMONIES_MAX = 16
"""Testimonies in a file: one settles a dispute; a few spare another round of files."""


class SharedTestimony(NamedTuple):
    """What the author can show of the provider's word about one message."""

    seq: Bytes16
    testimony: Vec32


SHARED_TESTIMONY = struct_codec(SharedTestimony)


class ExportedSection(NamedTuple):
    """For one peer: cuts of the pair's chain, and its items from number `after_length` on."""

    peer_id: Bytes32
    cuts: Annotated[tuple[Cut, ...], list_of(CUT, VIEW_CUTS_MAX)]
    after_length: U64
    items: Annotated[tuple[ChainItem, ...], list_of(CHAIN_ITEM, EXPORTED_ITEMS_MAX)]
    testimonies: Annotated[tuple[SharedTestimony, ...], list_of(SHARED_TESTIMONY, EXPORTED_TESTIMONIES_MAX)]


EXPORTED_SECTION = struct_codec(ExportedSection)


class ExportedView(NamedTuple):
    """Without a section it is for everybody: checkpoints alone."""

    origin: Bytes32
    device_id: Bytes32
    key: Bytes32
    created_ms: U64
    checkpoints: Annotated[tuple[CompactCheckpoint, ...], list_of(COMPACT_CHECKPOINT, EXPORTED_CHECKPOINTS_MAX)]
    section: Annotated[ExportedSection | None, optional(EXPORTED_SECTION)]


EXPORTED_VIEW = struct_codec(ExportedView, record_type=26)


class ExportedFile(NamedTuple):
    body: Vec32
    signature: Bytes64


EXPORTED_FILE = struct_codec(ExportedFile)


def sign_view(signer: Signer, view: ExportedView) -> bytes:
    """The file. Raises DecodeError for a view that no reader would accept, SignatureError for another device's."""
    body = EXPORTED_VIEW.encode(view)
    data = EXPORTED_FILE.encode(ExportedFile(body, signer.sign("view", view.origin, body).signature))
    open_view(data, view.origin)
    return data


def open_view(data: bytes, origin: bytes) -> ExportedView:
    """What a file says about the provider `origin`, signed by the device that it names.

    Raises DecodeError or SignatureError. Who the device is to us, and whether the section is for us, the caller checks.
    """
    if len(data) > EXPORTED_BYTES_MAX:
        raise DecodeError(f"an exported view has at most {EXPORTED_BYTES_MAX} bytes", code="file-too-large")
    body, signature = EXPORTED_FILE.decode(data)
    view = EXPORTED_VIEW.decode(body)
    if view.origin != origin:
        raise DecodeError("a view of another provider", code="wrong-origin")
    if device_id_of(view.key) != view.device_id:
        raise SignatureError("the key is not that of the device", code="wrong-key")
    verify_strict(view.key, signature, "view", origin, body)
    return view


def answer_from_view(
    section: ExportedSection, request: SectionRequest | StatementRequest
) -> SectionFrame | StatementFrame:
    """The author's answer, or that the file does not hold it: FORGOTTEN."""
    if isinstance(request, StatementRequest):
        found = next((shared.testimony for shared in section.testimonies if shared.seq == request.seq), b"")
        return StatementFrame(*request, Reason.NONE if found else Reason.FORGOTTEN, found)
    cut = next((cut for cut in section.cuts if cut.epoch == request.epoch), None)
    first_index = request.after_length - section.after_length
    if cut is None or first_index < 0:
        return SectionFrame(*request, Reason.FORGOTTEN, ())
    count = min(PAGE_ITEMS_MAX, max(0, cut.length - request.after_length))
    items = section.items[first_index : first_index + count]
    return SectionFrame(*request, *((Reason.NONE, items) if len(items) == count else (Reason.FORGOTTEN, ())))
