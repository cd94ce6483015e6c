"""Compares our pair chains with those of our peers, and walks every difference to the message that explains it.

Knows nothing of carriers, and believes no peer: only what the provider signed becomes a proof.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from noise.protocol.dispute import Contradiction, Dispute, Outcome, PeerLied, Unavailable
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.testimony import TESTIMONY, Testimony, accuse_message
from noise.protocol.evidence.verdict import NotProven
from noise.protocol.gossip import (
    GossipFrame,
    Reason,
    SectionFrame,
    SectionRequest,
    StatementFrame,
    answer_section,
)
from noise.protocol.identifiers import format_id
from noise.protocol.pair_chain import Comparison, Cut, KnownCuts, compare, new_chain
from noise_client.evidence_store import EvidenceStore
from noise_client.pair_chains import PairChains

T = TypeVar("T")

_PEERS_MAX = 256
_DISPUTES_MAX = 256
_ASK_AGAIN_MS = 5_000
"""A question that was not answered for so long is asked again at the next occasion: its carrier may have lost it."""

_HOPELESS_MS = 600_000
"""For so long a difference that nobody could explain is left alone."""


class _Open(NamedTuple):
    """A dispute that is under way. `is_ours`: with somebody whom we have written to. `asked_ms`: when, last.

    `is_whole`: it began where both chains were once the same, or empty; else where what we keep of ours begins.
    """

    dispute: Dispute
    is_ours: bool
    asked_ms: int
    is_whole: bool


class Finding(NamedTuple):
    """What came of a comparison. `proof`: encoded, or empty. `suspicion`: why the pair's chains differ; "" clears it;
    None: as before. `question`: for the peer. `is_proven`: they differ, and a proof that we hold says why."""

    proof: bytes = b""
    suspicion: str | None = None
    question: GossipFrame | None = None
    is_proven: bool = False


NOTHING_FOUND = Finding()
ALL_THE_SAME = Finding(suspicion="")
PROVEN = Finding(is_proven=True)


class PairWatch:
    """`testify(seq, peer)` is our own testimony; it raises NoiseError. `time_ms`: the wall clock."""

    def __init__(
        self,
        store: EvidenceStore,
        device_id: bytes,
        origin: bytes,
        testify: Callable[[bytes, bytes], Testimony],
        time_ms: Callable[[], int],
    ) -> None:
        self.chains = PairChains(store, device_id)
        self.next_epoch = 0
        """Epochs before this one are verified, with all their messages."""
        self._device_id = device_id
        self._origin = origin
        self._testify = testify
        self._time_ms = time_ms
        self._later: OrderedDict[bytes, Cut] = OrderedDict()
        self._open: OrderedDict[bytes, _Open] = OrderedDict()
        self._disputed: OrderedDict[bytes, int] = OrderedDict()
        self._hopeless: OrderedDict[bytes, int] = OrderedDict()
        self._n_requests = 0
        self._explained: set[bytes] = set()
        """Peers whose chains differ from ours for ever, by a lie that is proven."""

    @property
    def is_disputing(self) -> bool:
        return bool(self._open)

    def cuts(self, peer: bytes) -> tuple[Cut, ...]:
        """For a view: how our chain with a peer stands where what we keep of it begins, and at the last epoch that is
        verified. From the first on we can answer; a peer that finds it equal asks for nothing before it."""
        if not self.next_epoch or peer == self._device_id:
            return ()
        known = self.chains.known(peer, self.next_epoch)
        cut = known.at(self.next_epoch - 1)
        begin = (known.base,) if known.base.length else ()
        return (*begin, cut) if isinstance(cut, Cut) else begin

    def ready(self) -> list[tuple[bytes, Cut]]:
        """Cuts of peers that can be compared by now."""
        return [(peer, self._later.pop(peer)) for peer, cut in list(self._later.items()) if cut.epoch < self.next_epoch]

    def hear_cut(self, peer: bytes, cut: Cut) -> Finding:
        """Compare a peer's cut, now or when its epoch is verified here."""
        known = self.chains.known(peer, self.next_epoch)
        result = compare(known, cut)
        if result is Comparison.MATCH:
            if self.chains.note_match(peer, cut):
                self._hopeless.pop(peer, None)
            if cut.epoch < self._disputed.get(peer, 0):
                return NOTHING_FOUND  # it is older than the cut that differs
            for table in (self._open, self._disputed, self._hopeless):
                table.pop(peer, None)
            return ALL_THE_SAME
        if result is Comparison.LATER:
            _remember(self._later, peer, self._later.get(peer, cut))
        ours = known.at(cut.epoch)
        if result is not Comparison.DIFFERS or not isinstance(ours, Cut):
            return NOTHING_FOUND
        if peer in self._explained:
            return PROVEN
        now = self._time_ms()
        if peer in self._open:
            opened = self._open[peer]
            if now - opened.asked_ms < _ASK_AGAIN_MS:
                return NOTHING_FOUND
            self._open[peer] = opened._replace(asked_ms=now)
            return Finding(question=opened.dispute.question())
        if now - self._hopeless.get(peer, now - _HOPELESS_MS) < _HOPELESS_MS:
            return NOTHING_FOUND
        return self._dispute(peer, known, ours, cut)

    def _dispute(self, peer: bytes, known: KnownCuts, ours: Cut, theirs: Cut) -> Finding:
        is_known = self.chains.has_written(peer)
        if len(self._open) >= _DISPUTES_MAX and not self._make_room(is_for_known=is_known):
            return NOTHING_FOUND
        matched = self.chains.matched(peer, self.next_epoch)
        is_whole = matched is not None or not known.base.length
        if not is_whole and ours.length >= known.base.length <= theirs.length:
            matched = known.base  # before that, we have forgotten: if there is a difference, it cannot be found
        self._n_requests += 1 << 16
        dispute = Dispute(
            new_chain(self._device_id, peer),
            ours,
            theirs,
            self.chains.items(peer),
            matched=matched,
            first_request=self._n_requests % 2**32,
        )
        self._open[peer] = _Open(dispute, is_known, self._time_ms(), is_whole)
        _remember(self._disputed, peer, theirs.epoch)
        name = format_id(peer)
        doubt = f"by epoch {theirs.epoch} we count {ours.length} shared with {name}, which counts {theirs.length}"
        if ours.length == theirs.length:
            doubt = f"by epoch {theirs.epoch} what we share with {name} differs"
        finding = self._follow(peer)
        return finding if finding.suspicion is not None else finding._replace(suspicion=doubt)

    def _make_room(self, *, is_for_known: bool) -> bool:
        """Give up the oldest dispute with a stranger; for somebody whom we know, the oldest of all."""
        strangers = (peer for peer, opened in self._open.items() if not opened.is_ours)
        oldest = next(strangers, next(iter(self._open)) if is_for_known else None)
        if oldest is not None:
            del self._open[oldest]
        return oldest is not None

    def explain(self, peer: bytes) -> None:
        """A proof says why a peer's chain differs from ours, as it will for ever."""
        self._explained.add(peer)
        self._open.pop(peer, None)

    def retry(self, peer: bytes) -> None:
        """There is a new way to ask a peer: a difference that nobody could explain may be explained now."""
        self._hopeless.pop(peer, None)
        self._open.pop(peer, None)

    def hear_answer(self, peer: bytes, frame: SectionFrame | StatementFrame) -> Finding:
        """What a peer answers in our dispute with it."""
        opened = self._open.get(peer)
        if opened is None:
            return NOTHING_FOUND
        before = opened.dispute.question()
        opened.dispute.receive(frame)
        if opened.dispute.question() == before:
            return NOTHING_FOUND  # a stray: what was asked stands
        return self._follow(peer)

    def answer(self, peer: bytes, request: SectionRequest) -> SectionFrame:
        """A page of our chain with a peer."""
        return answer_section(request, self.chains.known(peer, self.next_epoch), self.chains.items(peer))

    def questions(self) -> list[tuple[bytes, GossipFrame]]:
        """What is asked and not answered: to be sent again now and then."""
        asked = [(peer, opened.dispute.question()) for peer, opened in self._open.items()]
        return [(peer, question) for peer, question in asked if question is not None]

    def _follow(self, peer: bytes) -> Finding:
        opened = self._open[peer]
        dispute = opened.dispute
        if dispute.difference is not None:
            self.chains.note_difference(peer, dispute.difference.seq)
        if dispute.outcome is None:
            return Finding(question=dispute.question())
        del self._open[peer]
        finding = self._judge(peer, dispute.outcome, is_whole=opened.is_whole)
        if finding.suspicion:
            _remember(self._hopeless, peer, self._time_ms())
        return finding

    def _judge(self, peer: bytes, outcome: Outcome, *, is_whole: bool) -> Finding:
        name = format_id(peer)
        if isinstance(outcome, PeerLied):
            if is_whole:
                return ALL_THE_SAME  # about the provider, its words say nothing
            outcome = Unavailable(Reason.FORGOTTEN, True, "the difference may lie before what we keep")
        if isinstance(outcome, Unavailable):
            if outcome.reason is Reason.LATER:
                return NOTHING_FOUND  # its next cut begins again
            doubt = f"our messages differ from those of {name}, and nothing proves why: {outcome.detail}"
            return Finding(suspicion=doubt)
        try:
            proof = self._accuse(peer, outcome)
            self.explain(peer)
            return Finding(proof=proof)
        except NotProven as error:
            return Finding(suspicion=f"our messages differ from those of {name}, which shows no proof: {error.detail}")
        except NoiseError as error:
            if error.code == "evidence-future":
                return NOTHING_FOUND
            return Finding(
                suspicion=f"our messages differ from those of {name}, and we cannot prove it: {error.detail}"
            )

    def _accuse(self, peer: bytes, contradiction: Contradiction) -> bytes:
        seq = contradiction.difference.seq
        try:
            ours = self._testify(seq, peer)
        except NoiseError as error:
            if error.code != "evidence-private":
                raise
            ours = self._testify(seq, self._device_id)
        theirs = TESTIMONY.decode(contradiction.testimony)
        return accuse_message(self._origin, ours, self._device_id, theirs, peer, seq)


def _remember(table: "OrderedDict[bytes, T]", peer: bytes, value: T) -> None:
    table[peer] = value
    if len(table) > _PEERS_MAX:
        table.popitem(last=False)
