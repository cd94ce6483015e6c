"""Signed views as files, for comparison where no connection leads: what a client writes, and how it reads a peer's.

Knows nothing of files on a disk. The comparing itself is that of every other carrier.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.openings import LogOpening
from noise.protocol.evidence.testimony import TESTIMONY, Testimony
from noise.protocol.exported_view import (
    EXPORTED_CHECKPOINTS_MAX,
    EXPORTED_ITEMS_MAX,
    ExportedSection,
    SharedTestimony,
    answer_from_view,
)
from noise.protocol.gossip import CompactCheckpoint, SectionRequest, StatementRequest, compact
from noise.protocol.pair_chain import Cut
from noise_client.pair_watch import Finding, PairWatch

_TESTIMONIES = 8
"""Of the last messages of a chain: a difference is likely there, and a round of files is saved."""


def exported_checkpoints(openings: Sequence[LogOpening]) -> tuple[CompactCheckpoint, ...]:
    """The newest checkpoints that we hold, one of each size."""
    by_size = {checkpoint.size: checkpoint for checkpoint in (compact(opening.note) for opening in openings)}
    return tuple(sorted(by_size.values()))[-EXPORTED_CHECKPOINTS_MAX:]


def exported_section(pairs: PairWatch, peer: bytes, testify: Callable[[bytes, bytes], Testimony]) -> ExportedSection:
    """For one peer: the end of our chain as far back as it is kept and fits, and what the provider said about its last
    messages, and about the one that the peer's own file disputed.

    The peer may not know of a match that we know of. So the chain begins before it, and the cut that matched stands
    before the newest one."""
    base_length = pairs.chains.known(peer, pairs.next_epoch).base.length
    kept = pairs.chains.items(peer)(base_length, 2**62)
    items = kept[-EXPORTED_ITEMS_MAX:]
    matched = pairs.chains.matched(peer, pairs.next_epoch)
    cuts = dict.fromkeys((matched, *pairs.cuts(peer)) if matched else pairs.cuts(peer))
    seqs = [item.seq for item in items[-_TESTIMONIES:]]
    disputed = pairs.chains.disputed_seq(peer)
    testimonies = []
    for seq in [disputed, *seqs] if disputed and disputed not in seqs else seqs:
        with suppress(NoiseError):
            testimonies.append(SharedTestimony(seq, TESTIMONY.encode(testify(seq, peer))))
    first = base_length + len(kept) - len(items)
    return ExportedSection(peer, tuple(cuts), first, tuple(items), tuple(testimonies))


def compare_section(pairs: PairWatch, peer: bytes, section: ExportedSection, cut: Cut) -> Finding:
    """What comes of a cut in a peer's file, the file answering for its author."""
    finding = pairs.hear_cut(peer, cut)
    while isinstance(finding.question, SectionRequest | StatementRequest):
        finding = pairs.hear_answer(peer, answer_from_view(section, finding.question))
    return finding
