"""One difference with one peer, walked to the first message about which the two disagree: a sans-IO state machine.

Knows nothing of carriers, time, or evidence: a testimony is bytes here. Whoever owns a `Dispute` sends what
`question()` returns, again whenever nothing has come for a while, and hands it every answer. Nothing is lost by
starting from scratch: questions change nothing at the peer, and answers say what they answer. Each side runs its own.

    WALKING --section, all equal--> WALKING
    WALKING --section, a difference--> ASKING
    ASKING --statement--> OVER
    any --an answer that cannot be true, an empty one, too many strays--> OVER

Its costs are bounded by our own data, whatever the peer does: every page but the last costs it a page that equals ours,
and strays are counted.
"""

from enum import Enum
from itertools import zip_longest
from typing import NamedTuple, TypeAlias

from noise.protocol.errors import NoiseError
from noise.protocol.gossip import (
    PAGE_ITEMS_MAX,
    GossipFrame,
    ItemsReader,
    Reason,
    SectionFrame,
    SectionRequest,
    StatementFrame,
    StatementRequest,
)
from noise.protocol.pair_chain import ChainItem, Cut, PairChain

STRAYS_MAX = 1024
"""Frames in a row that answer nothing asked now. A slow but honest peer answers every repeated question once more."""


class DisputeState(Enum):
    WALKING = "walking"  # a page of the peer's chain is asked for
    ASKING = "asking"  # the peer's testimony about the first difference is asked for
    OVER = "over"


ANSWERS: dict[DisputeState, tuple[type[GossipFrame], ...]] = {
    DisputeState.WALKING: (SectionFrame,),
    DisputeState.ASKING: (StatementFrame,),
    DisputeState.OVER: (),
}
"""What may answer in each state. Whatever else comes is a stray."""


class Difference(NamedTuple):
    """The first message about which the chains disagree. None: that side has no message at this seq.

    Both present: one seq, two messages. One present: a message that only one of the two was given.
    """

    seq: bytes
    ours: ChainItem | None
    theirs: ChainItem | None


class Contradiction(NamedTuple):
    """The peer shows something for its side of the difference. Whether the provider signed it is not looked at here."""

    difference: Difference
    testimony: bytes


class PeerLied(NamedTuple):
    """The peer's own words contradict each other. It is not believed, and says nothing about the provider."""

    detail: str


class Unavailable(NamedTuple):
    """Nothing can be shown. `reason` is the peer's, or ours where `is_ours`; unknown numbers are UNWILLING."""

    reason: Reason
    is_ours: bool
    detail: str


Outcome: TypeAlias = Contradiction | PeerLied | Unavailable


class Dispute:
    """Ours with one peer, about its cut `theirs`. Public: `state`, `difference` (from ASKING on), `outcome` (OVER)."""

    __slots__ = (
        *("_chain", "_first_epoch", "_items", "_last_seq", "_own", "_request", "_strays", "_theirs"),
        *("difference", "outcome", "state"),
    )

    def __init__(
        self,
        chain: PairChain,
        own: Cut,
        theirs: Cut,
        items: ItemsReader,
        *,
        matched: Cut | None = None,
        first_request: int = 0,
    ) -> None:
        """`chain`: the pair's, empty. `own`: our cut at the epoch of `theirs`. `matched`: the last cut that matched.

        Raises NoiseError unless both cuts are of one epoch, and differ.
        """
        if own.epoch != theirs.epoch or own == theirs:
            raise NoiseError("a dispute is about two different cuts at one epoch", code="no-dispute")
        self._chain = chain if matched is None else PairChain(chain.pair, matched.length, matched.head)
        self._first_epoch = 0 if matched is None else matched.epoch + 1
        self._own, self._theirs, self._items = own, theirs, items
        self._request = first_request
        self._last_seq = b""
        self._strays = 0
        self.state = DisputeState.WALKING
        self.difference: Difference | None = None
        self.outcome: Outcome | None = None
        if theirs.epoch < self._first_epoch or theirs.length < self._chain.length:
            self._end(PeerLied("its cut contradicts an earlier one of its own, which matched"))

    def question(self) -> SectionRequest | StatementRequest | None:
        """What to send now, as often as the carrier needs it; None: nothing, it is over."""
        if self.state is DisputeState.OVER:
            return None
        if self.difference is not None:
            return StatementRequest(self._request, self.difference.seq)
        return SectionRequest(self._request, self._theirs.epoch, self._chain.length)

    def receive(self, frame: GossipFrame) -> None:
        """Take a frame from the peer: an answer, or a stray."""
        question = self.question()
        if question is None:
            return
        is_answer = isinstance(frame, ANSWERS[self.state]) and tuple(frame)[: len(question)] == tuple(question)
        if not is_answer:
            self._strays += 1
            if self._strays > STRAYS_MAX:
                self._end(Unavailable(Reason.UNWILLING, False, "the peer answers what it was not asked"))
            return
        self._strays = 0
        if isinstance(frame, SectionFrame):
            self._take_page(frame)
        elif isinstance(frame, StatementFrame) and self.difference is not None:
            if frame.reason != Reason.NONE or not frame.testimony:
                self._end_unanswered(frame.reason, "the peer shows nothing for its side")
            else:
                self._end(Contradiction(self.difference, frame.testimony))

    def _take_page(self, frame: SectionFrame) -> None:
        if frame.reason != Reason.NONE:
            self._end_unanswered(frame.reason, "the peer does not show its chain")
        elif len(frame.items) != min(PAGE_ITEMS_MAX, self._theirs.length - self._chain.length):
            self._end(PeerLied("its chain has another length than its cut says"))
        elif not self._are_in_order(frame.items):
            self._end(PeerLied("its chain is out of order, or of other epochs than its cut"))
        else:
            self._walk(frame.items)

    def _are_in_order(self, items: tuple[ChainItem, ...]) -> bool:
        last_seq = self._last_seq
        for seq, _ in items:
            if seq <= last_seq or not self._first_epoch <= int.from_bytes(seq[:8], "big") <= self._theirs.epoch:
                return False
            last_seq = seq
        return True

    def _walk(self, page: tuple[ChainItem, ...]) -> None:
        """Compare a page of theirs with ours from the same number on. Both are full, or end where the chain ends."""
        try:
            count = min(PAGE_ITEMS_MAX, max(0, self._own.length - self._chain.length))
            ours = tuple(self._items(self._chain.length, count)) if count else ()
        except NoiseError:
            ours, count = (), 1
        if len(ours) != count:
            self._end(Unavailable(Reason.FORGOTTEN, True, "we do not keep our own chain that far back"))
            return
        reached = self._chain.extend(page)
        is_last = reached.length == self._theirs.length
        if is_last and reached.head != self._theirs.head:
            self._end(PeerLied("its chain does not lead to the head of its cut"))
            return
        self.difference = _first_difference(ours, page)
        if self.difference is not None:
            self._ask(DisputeState.ASKING)
        elif is_last and self._own.length <= reached.length:
            self._end(Unavailable(Reason.UNWILLING, True, "the chains are the same: it is our own cut that is wrong"))
        else:
            self._chain = reached
            self._last_seq = page[-1].seq
            self._ask(DisputeState.WALKING)

    def _ask(self, state: DisputeState) -> None:
        self.state = state
        self._request = (self._request + 1) % 2**32

    def _end_unanswered(self, reason: int, detail: str) -> None:
        known = reason in (Reason.LATER, Reason.FORGOTTEN)
        self._end(Unavailable(Reason(reason) if known else Reason.UNWILLING, False, detail))

    def _end(self, outcome: Outcome) -> None:
        self.state = DisputeState.OVER
        self.outcome = outcome


def _first_difference(ours: tuple[ChainItem, ...], theirs: tuple[ChainItem, ...]) -> Difference | None:
    """Of two runs that begin at one number and end at one, or where a chain ends. The smaller seq is in one only."""
    for our, their in zip_longest(ours, theirs):
        if our == their:
            continue
        seq = min(item.seq for item in (our, their) if item is not None)
        return Difference(
            seq,
            our if our is not None and our.seq == seq else None,
            their if their is not None and their.seq == seq else None,
        )
    return None
