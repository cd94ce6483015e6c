"""Two devices with chains of one story, and disputes between them: what the tests of disputes are played with.

Knows nothing of what a dispute should find.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from noise.protocol.dispute import (
    Difference,
    Dispute,
    DisputeState,
)
from noise.protocol.errors import NoiseError
from noise.protocol.gossip import (
    PAGE_ITEMS_MAX,
    GossipFrame,
    SectionRequest,
    StatementRequest,
    answer_section,
    answer_statement,
    encode_gossip,
    parse_gossip,
)
from noise.protocol.identifiers import make_seq
from noise.protocol.pair_chain import ChainItem, Cut, KnownCuts, new_chain
from tests.vectors.cast import device_of, filler
from tests.vectors.make_gossip import frames as example_frames

EMPTY = new_chain(device_of("alice"), device_of("bob"))
EPOCH_ITEMS = 100
OTHER_HASH = filler("another message", 32)


def item(number: int) -> ChainItem:
    """Message `number` of the true story: EPOCH_ITEMS in an epoch, gaps between positions."""
    seq = make_seq(10 + number // EPOCH_ITEMS, 0, 2 * (number % EPOCH_ITEMS))
    return ChainItem(seq, seq + seq)


def between(number: int) -> ChainItem:
    """A message that stands right after message `number`, and that nobody else has."""
    epoch, pos = 10 + number // EPOCH_ITEMS, 2 * (number % EPOCH_ITEMS) + 1
    return ChainItem(make_seq(epoch, 0, pos), OTHER_HASH)


STORY = [item(number) for number in range(3 * PAGE_ITEMS_MAX)]


def epoch_of(chain_item: ChainItem) -> int:
    return int.from_bytes(chain_item.seq[:8], "big")


class Device(NamedTuple):
    """One side: its items of the pair's chain, of epochs that it has verified, and the first number that it keeps."""

    items: Sequence[ChainItem]
    next_epoch: int = 100
    first_kept: int = 0

    def read(self, after_length: int, count: int) -> Sequence[ChainItem]:
        if after_length < self.first_kept:
            raise NoiseError("dropped", code="evidence-dropped")
        return self.items[after_length : after_length + count]

    def known(self) -> KnownCuts:
        chain, steps = EMPTY, list[Cut]()
        for chain_item in self.items:
            chain = chain.append(*chain_item)
            if steps and steps[-1].epoch == epoch_of(chain_item):
                steps.pop()
            steps.append(chain.cut_at(epoch_of(chain_item)))
        return KnownCuts(EMPTY.cut_at(0), steps, self.next_epoch)

    def cut(self, epoch: int | None = None) -> Cut:
        cut = self.known().at(self.next_epoch - 1 if epoch is None else epoch)
        assert isinstance(cut, Cut)
        return cut

    def testify(self, seq: bytes) -> bytes:
        return b"delivered" if seq in {chain_item.seq for chain_item in self.items} else b"absent"

    def answer(self, frame: GossipFrame) -> GossipFrame:
        if isinstance(frame, SectionRequest):
            return answer_section(frame, self.known(), self.read)
        assert isinstance(frame, StatementRequest)
        return answer_statement(frame, self.testify)

    def dispute(self, theirs: Cut, matched: Cut | None = None, first_request: int = 0) -> Dispute:
        ours = self.cut(theirs.epoch)
        return Dispute(EMPTY, ours, theirs, self.read, matched=matched, first_request=first_request)


def settle(dispute: Dispute, answer: Callable[[GossipFrame], GossipFrame], rounds_max: int = 50) -> int:
    """Ask until it is over; the number of questions."""
    for n_rounds in range(rounds_max):
        question = dispute.question()
        if question is None:
            return n_rounds
        dispute.receive(parse_gossip(encode_gossip(answer(parse_gossip(encode_gossip(question))))))
    raise AssertionError("it does not end")


def true_difference(ours: Sequence[ChainItem], theirs: Sequence[ChainItem], epoch: int) -> Difference | None:
    """By sets: the smallest seq, of all up to the epoch, that does not mean the same to both."""
    one, other = ({i.seq: i for i in items if epoch_of(i) <= epoch} for items in (ours, theirs))
    differing = [seq for seq in sorted(one.keys() | other.keys()) if one.get(seq) != other.get(seq)]
    return Difference(differing[0], one.get(differing[0]), other.get(differing[0])) if differing else None


def changed(items: Sequence[ChainItem], change: str, number: int) -> list[ChainItem]:
    number %= len(items)
    before, rest = list(items[:number]), list(items[number:])
    return {
        "drop": before + rest[1:],
        "end": before,
        "insert": [*before, rest[0], between(number), *rest[1:]],
        "change": [*before, rest[0]._replace(env_hash=OTHER_HASH), *rest[1:]],
        "move": [*before, ChainItem(between(number).seq, rest[0].env_hash), *rest[1:]],
        "swap": [*before, ChainItem(rest[0].seq, rest[-1].env_hash), *rest[1:-1], rest[-1]][: len(items)],
    }[change]


EXAMPLES: dict[type[GossipFrame], GossipFrame] = {type(frame): frame for frame in example_frames()}


def dispute_in(state: DisputeState) -> Dispute:
    ours, theirs = Device(STORY[:300]), Device(STORY[:299])
    dispute = ours.dispute(theirs.cut())
    while dispute.state is not state:
        question = dispute.question()
        assert question is not None
        dispute.receive(theirs.answer(question))
    return dispute
