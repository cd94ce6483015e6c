"""Everything in a pool, opened in every way that verifies: the pieces from which framers put accusations together.

Knows nothing of accusations. Each piece is also read again as what it is not: at another place, with a shorter or
longer proof, for another mailbox, under another roster, as absent, as a node of its own tree. What still opens is a
piece like any other; of an honest provider nothing should that was not said.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from noise.protocol.delta import SignedRoster
from noise.protocol.envelope import RecipientSet
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.material import open_device, open_shared, place_leaf
from noise.protocol.evidence.openings import (
    CommittedLeaf,
    LeafOpening,
    LogOpening,
    PlacedLeaf,
    RecipientOpening,
    RecordOpening,
    SequencedLeaf,
    StateOpening,
    check_placed,
    open_committed,
    open_log_leaf,
    open_recipient,
    open_record_leaf,
    open_state,
)
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.frames import SignedManifest
from noise.protocol.history import HISTORY_RECORD, MAILBOX_STATE
from noise.protocol.identifiers import make_seqs, parse_seq
from noise.protocol.merkle import Tree, leaf_hashes, prove_subset
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_RECORD, MANIFEST, MESSAGE_LEAF, hash_roster, message_leaves
from tests.simulation.pool import Pool

T = TypeVar("T")


class Record(NamedTuple):
    """A history record under one state, and the leaves that verify in it, with their neighbours in order."""

    opening: RecordOpening
    leaves: Sequence[PlacedLeaf]


class Pieces(NamedTuple):
    """`recipients`: those that open in a message, by its encoded leaf."""

    rosters: Rosters
    signed_rosters: Sequence[SignedRoster]
    manifests: Sequence[SignedManifest]
    statements: Sequence[Signed]
    notes: Sequence[bytes]
    records: Sequence[LogOpening]
    states: Sequence[StateOpening]
    history: Sequence[Record]
    messages: Sequence[CommittedLeaf]
    recipients: dict[bytes, list[RecipientOpening]]


def pieces_of(pool: Pool) -> Pieces:
    """All pieces that open, those that were read again as something else among them."""
    signed_rosters = [SignedRoster(*signed) for signed in pool.rosters]
    rosters = Rosters(pool.origin, signed_rosters)
    logs = _opening(lambda opening: open_log_leaf(rosters, opening), _vary(list(_log_openings(pool)), _LOG_VARIANTS))
    honest_states = list({(o.mailbox, o.head.log.place): o for o in _state_openings(pool)}.values())
    others = [opening.mailbox for opening in honest_states]
    states = _opening(lambda opening: open_state(rosters, opening), list(_state_variants(honest_states, others)))
    history = [record for opening in _first_and_last(states) for record in _records(rosters, pool, opening)]
    messages = _opening(
        lambda message: open_committed(rosters, message),
        [
            *(CommittedLeaf(variant, None) for variant in _vary(list(_sequenced(pool)), _SEQUENCED_VARIANTS)),
            *(CommittedLeaf(None, variant) for variant in _vary(_leaf_openings(history), _LEAF_VARIANTS)),
        ],
    )
    return Pieces(
        rosters,
        signed_rosters,
        [SignedManifest(*signed) for signed in pool.manifests()],
        [signed for sort in pool.statements().values() for signed in sort],
        [epoch.note for epoch in pool.epochs],
        logs,
        states,
        history,
        messages,
        _recipients(pool),
    )


def _opening(open_one: Callable[[T], object], candidates: Sequence[T]) -> list[T]:
    """Those that open, each once."""
    found = []
    for candidate in dict.fromkeys(candidates):
        try:
            open_one(candidate)
        except NoiseError:
            continue
        found.append(candidate)
    return found


def _vary(openings: Sequence[T], variants: Sequence[Callable[[T], T]]) -> list[T]:
    return [*openings, *(vary(opening) for opening in openings for vary in variants)]


_LOG_VARIANTS: Sequence[Callable[[LogOpening], LogOpening]] = (
    lambda o: o._replace(place=o.place + 1),
    lambda o: o._replace(place=max(0, o.place - 1)),
    lambda o: o._replace(place=o.place // 2, proof=o.proof[1:]),
    lambda o: o._replace(record=o.record[:-1]),
    lambda o: o._replace(record=b"".join(o.proof[:1] or (bytes(32),)) * 2),
    lambda o: o._replace(proof=o.proof[:-1]),
)
_SEQUENCED_VARIANTS: Sequence[Callable[[SequencedLeaf], SequencedLeaf]] = (
    lambda o: o._replace(first_pos=o.first_pos + 1),
    lambda o: o._replace(place=o.place + 1),
    lambda o: o._replace(leaf_hashes=o.leaf_hashes[:1], place=0),
    lambda o: o._replace(leaf_hashes=o.leaf_hashes + o.proof[:1], proof=o.proof[1:]),
    lambda o: o._replace(leaf=o.leaf[:-1]),
    lambda o: o._replace(roster_hash=o.leaf[-32:]),
)
_LEAF_VARIANTS: Sequence[Callable[[LeafOpening], LeafOpening]] = (
    lambda o: o._replace(place=o.place + 1),
    lambda o: o._replace(place=0, proof=()),
    lambda o: o._replace(place=o.place // 2, proof=o.proof[1:]),
    lambda o: o._replace(record=o.record._replace(place=o.record.place + 1)),
)


def _log_openings(pool: Pool) -> Iterator[LogOpening]:
    """Each record under the checkpoint of its own epoch, under the next one, and under the last."""
    hashes = leaf_hashes([epoch.record for epoch in pool.epochs])
    for place, epoch in enumerate(pool.epochs):
        for size in sorted({place + 1, min(place + 2, len(hashes)), len(hashes)}):
            proof = tuple(Tree(hashes[:size]).inclusion(place))
            yield LogOpening(pool.epochs[size - 1].note, place, epoch.record, proof)


def _state_openings(pool: Pool) -> Iterator[StateOpening]:
    for seen in pool.seen:
        state = MAILBOX_STATE.encode(seen.trusted.state) if seen.trusted.state else b""
        shared = seen.trusted.shared
        assert shared is not None
        yield open_shared(shared, seen.trusted.log_proof, seen.mailbox, state, seen.trusted.path, seen.trusted.other)


def _state_variants(openings: Sequence[StateOpening], mailboxes: Sequence[bytes]) -> Iterator[StateOpening]:
    """Each state, and the same as another mailbox's, as none, without the other leaf, under another head or log."""
    for number, opening in enumerate(openings):
        beside = openings[(number + 1) % len(openings)]
        yield opening
        yield opening._replace(mailbox=mailboxes[(number + 1) % len(mailboxes)])
        yield opening._replace(state=b"")
        yield opening._replace(state=b"", mailbox=beside.mailbox, path=opening.path[:-1])
        yield opening._replace(other=None if opening.other else beside.other)
        yield opening._replace(head=beside.head)
        yield opening._replace(state=beside.state, path=beside.path, other=beside.other)
        yield opening._replace(head=opening.head._replace(log=beside.head.log))
        yield opening._replace(path=opening.path[1:])


def _first_and_last(states: Sequence[StateOpening]) -> list[StateOpening]:
    """Of each size of each mailbox, the first state and the last: others say the same of the same records."""
    found: dict[tuple[bytes, bytes], list[StateOpening]] = {}
    for opening in sorted(states, key=lambda opening: opening.head.log.place):
        found.setdefault((opening.mailbox, opening.state), []).append(opening)
    return [one for openings in found.values() for one in openings[:: max(1, len(openings) - 1)]]


def _records(rosters: Rosters, pool: Pool, opening: StateOpening) -> Iterator[Record]:
    """Every record under a state, at its place and at others, with the leaves that verify in it."""
    if not opening.state:
        return
    size = MAILBOX_STATE.decode(opening.state).hist_size
    known = pool.histories.get(opening.mailbox, [])[:size]
    if len(known) < size:
        return
    tree = Tree(leaf_hashes(known))
    made = [RecordOpening(opening, k, record, tuple(tree.inclusion(k))) for k, record in enumerate(known)]
    variants: list[RecordOpening] = []
    for one in made:
        variants += (
            one._replace(place=one.place + 1),
            one._replace(place=one.place // 2, proof=one.proof[1:]),
            one._replace(record=one.record[:-1]),
            one._replace(record=b"".join(one.proof[:1] or (bytes(32),)) * 2),
        )
    for one in _opening(lambda record: open_record_leaf(rosters, record), made + variants):
        at = known.index(one.record) if one.record in known else -1
        yield Record(one, _placed(one, pool.leaves[opening.mailbox][at]) if at >= 0 else ())


def _placed(opening: RecordOpening, leaves: Sequence[bytes]) -> list[PlacedLeaf]:
    made = [place_leaf(leaves, index) for index in range(len(leaves))]
    variants = [one._replace(place=one.place + 1) for one in made]
    variants += [one._replace(place=one.place // 2, proof=one.proof[1:]) for one in made]
    record = HISTORY_RECORD.decode(opening.record)
    return _opening(lambda placed: check_placed(record, placed), made + variants)


def _leaf_openings(history: Sequence[Record]) -> list[LeafOpening]:
    """Each delivered message under the first and the last state that has it."""
    found: dict[tuple[bytes, bytes], list[LeafOpening]] = {}
    for record, leaves in history:
        for placed in leaves:
            found.setdefault((record.state.mailbox, placed.leaf), []).append(LeafOpening(record, *placed))
    return [one for openings in found.values() for one in openings[:: max(1, len(openings) - 1)]]


def _sequenced(pool: Pool) -> Iterator[SequencedLeaf]:
    """Each message that is in a manifest and was delivered to anybody here, by itself and with its whole bundle."""
    leaves = {MESSAGE_LEAF.decode(leaf).seq: leaf for leaf in (*pool.promised(), *pool.delivered())}
    for signed in pool.manifests():
        manifest = MANIFEST.decode(signed.body)
        seqs = make_seqs(manifest.epoch, manifest.lane, 0, manifest.n_messages)
        if not seqs or not all(seq in leaves for seq in seqs):
            continue
        roster_hash = EPOCH_RECORD.decode(pool.epochs[manifest.epoch].record).roster_hash
        hashes = leaf_hashes([leaves[seq] for seq in seqs])
        tree = Tree(hashes)
        for pos, seq in enumerate(seqs):
            proof = tuple(prove_subset(tree, [pos]))
            alone = SequencedLeaf(SignedManifest(*signed), roster_hash, pos, (hashes[pos],), 0, leaves[seq], proof)
            yield alone
            yield alone._replace(first_pos=0, leaf_hashes=tuple(hashes), place=pos, proof=())
            for other in pool.rosters:
                if hash_roster(other.body) != roster_hash:
                    yield alone._replace(roster_hash=hash_roster(other.body))
    yield from _receipted(pool)


def _receipted(pool: Pool) -> Iterator[SequencedLeaf]:
    """What receipts show, each for its own bundle and for every other."""
    for bundle, receipt in pool.receipts:
        epoch, lane, first_pos = parse_seq(receipt.first_seq)
        roster_hash = EPOCH_RECORD.decode(pool.epochs[epoch].record).roster_hash
        for other in {id(bundle): bundle, id(pool.receipts[0][0]): pool.receipts[0][0]}.values():
            leaves = message_leaves(other, make_seqs(epoch, lane, first_pos, other.count))
            hashes = tuple(leaf_hashes(leaves))
            for place, leaf in enumerate(leaves):
                yield SequencedLeaf(receipt.manifest, roster_hash, first_pos, hashes, place, leaf, receipt.proof)


def _recipients(pool: Pool) -> dict[bytes, list[RecipientOpening]]:
    """Of every message, the recipients that open in it: its own, at their places and at others, and others'."""
    sets = [RecipientSet(r.env_salt, r.device_ids) for r in pool.recipients.values()]
    openings = [open_device(one, i) for one in sets for i in range(len(one.device_ids))]
    openings += [one._replace(place=one.place + 1) for one in openings]
    openings += [one._replace(place=one.place // 2, proof=one.proof[1:]) for one in openings]
    opened: dict[tuple[int, bytes], list[RecipientOpening]] = {}
    found: dict[bytes, list[RecipientOpening]] = {}
    for encoded in dict.fromkeys((*pool.delivered(), *pool.promised())):
        leaf = MESSAGE_LEAF.decode(encoded)
        key = (leaf.n_recipients, leaf.recipients_root)
        if key not in opened:
            opened[key] = _opening(partial(open_recipient, leaf), openings)
        found[encoded] = opened[key]
    return found
