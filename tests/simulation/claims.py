"""What lying peers say over the carrier, so that an honest device accuse an honest provider.

Knows nothing of how they are heard. Everything here is well formed, or nearly; a claim may be built of true statements
that the provider made to others, or about other messages.
"""

import random
from collections.abc import Callable

from noise.protocol.errors import NoiseError
from noise.protocol.evidence.openings import LOG_OPENING
from noise.protocol.evidence.proof import PROOF, Proof
from noise.protocol.evidence.testimony import TESTIMONY, Testimony
from noise.protocol.gossip import (
    GossipFrame,
    LogFrame,
    LogRequest,
    ProofFrame,
    SectionFrame,
    SectionRequest,
    StatementFrame,
    StatementRequest,
    View,
    ViewFrame,
    encode_gossip,
)
from noise.protocol.pair_chain import ChainItem, Cut
from tests.simulation.device import SimDevice


def false_claim(rng: random.Random, me: SimDevice, peer: bytes) -> bytes:
    """Something to say to a peer."""
    claim: Callable[[random.Random, SimDevice, bytes], GossipFrame | None] = rng.choice(CLAIMS)
    frame = claim(rng, me, peer)
    return rng.randbytes(rng.choice((0, 1, 50))) if frame is None else encode_gossip(frame)


def _seq(rng: random.Random, me: SimDevice) -> bytes:
    return rng.choice(me.deliveries).seq if me.deliveries else bytes(16)


def _cut(rng: random.Random, me: SimDevice, peer: bytes) -> GossipFrame:
    """Another head, another length, the head of another epoch, or an epoch that is far ahead."""
    view = me.witness.view(peer)
    if not view.cuts:
        return ViewFrame(View(view.checkpoint, (Cut(0, 1, bytes(32)),)))
    cut = view.cuts[0]
    false = (
        cut._replace(head=rng.randbytes(32)),
        cut._replace(length=cut.length + 1),
        cut._replace(length=max(0, cut.length - 1)),
        cut._replace(epoch=max(0, cut.epoch - 1)),
        cut._replace(epoch=cut.epoch + rng.choice((1, 2**40))),
        Cut(cut.epoch, 2**63, rng.randbytes(32)),
    )
    return ViewFrame(View(view.checkpoint, (rng.choice(false),)))


def _checkpoint(rng: random.Random, me: SimDevice, peer: bytes) -> GossipFrame | None:
    """A true signature over another size or root."""
    checkpoint = me.witness.view(peer).checkpoint
    if checkpoint is None:
        return None
    false = (checkpoint._replace(size=checkpoint.size + 1), checkpoint._replace(root=rng.randbytes(32)), checkpoint)
    return ViewFrame(View(rng.choice(false), ()))


def _section(rng: random.Random, me: SimDevice, peer: bytes) -> GossipFrame:
    """A page, asked for or not, of what the pair never had."""
    epoch = me.follower.trusted.log.size
    items = tuple(ChainItem(_seq(rng, me), rng.randbytes(32)) for _ in range(rng.randint(0, 3)))
    return SectionFrame(rng.randint(0, 3) << 16, max(0, epoch - 1), rng.randint(0, 2), rng.randint(0, 4), items)


def _testimony(rng: random.Random, me: SimDevice, peer: bytes) -> Testimony | None:
    try:
        return me.witness.testify(_seq(rng, me), rng.choice((peer, me.device_id)))
    except NoiseError:
        return None


def _statement(rng: random.Random, me: SimDevice, peer: bytes) -> GossipFrame | None:
    """A true testimony about another message, or the halves of two."""
    one, other = _testimony(rng, me, peer), _testimony(rng, me, peer)
    if one is None or other is None:
        return None
    mixed = rng.choice((one, one._replace(recipient=other.recipient), one._replace(delivered=other.delivered)))
    try:
        encoded = TESTIMONY.encode(mixed)
    except NoiseError:
        return None
    return StatementFrame(rng.randint(0, 3) << 16, _seq(rng, me), 0, encoded)


def _question(rng: random.Random, me: SimDevice, peer: bytes) -> GossipFrame:
    """For anything."""
    return rng.choice(
        (
            SectionRequest(1, rng.choice((0, 5, 2**63)), rng.choice((0, 2**63))),
            StatementRequest(1, _seq(rng, me)),
            StatementRequest(1, rng.randbytes(16)),
            LogRequest(1, rng.choice((0, 3, 2**63))),
        )
    )


def _opening(rng: random.Random, me: SimDevice, peer: bytes) -> GossipFrame | None:
    """A true opening of a record, at another place."""
    openings = me.witness.openings()
    if not openings:
        return None
    opening = rng.choice(openings)
    false = (opening, opening._replace(place=opening.place + 1), opening._replace(note=openings[-1].note))
    return LogFrame(0, opening.place, 0, LOG_OPENING.encode(rng.choice(false)))


def _proof(rng: random.Random, me: SimDevice, peer: bytes) -> GossipFrame:
    """A file that proves nothing."""
    rosters = me.seen[0].delta.rosters if me.seen else ()
    return ProofFrame(PROOF.encode(Proof(me.origin, tuple(rosters), rng.choice(("Omission", "LogFork", "Lie")), b"")))


CLAIMS = (_cut, _cut, _checkpoint, _section, _statement, _question, _opening, _proof)
