"""What a client remembers of its provider's word, compares with its peers', and proves: sans-IO, over a trust store.

Knows nothing of connections, tasks or threads. Whoever owns it hands it every verified step, every receipt and every
frame of a peer, carries away what it wants to say (`take_outgoing`), and looks up what it asks for (`take_lookups`).
Everything here calls the store: it runs where the store's calls run, one at a time.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from noise.protocol.delta import Delta, RecipientLists
from noise.protocol.envelope import Bundle
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.accuse import accuse_refusal
from noise.protocol.evidence.material import EvidenceUnavailable, Material
from noise.protocol.evidence.openings import LOG_OPENING, LogOpening
from noise.protocol.evidence.testimony import TESTIMONY, Testimony, accuse_message, testify
from noise.protocol.evidence.verdict import NotProven
from noise.protocol.evidence.verdict import Verdict as ProofVerdict
from noise.protocol.exported_view import ExportedView, open_view, sign_view
from noise.protocol.frames import Receipt
from noise.protocol.gossip import (
    VIEW,
    CompactCheckpoint,
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
    answer_log,
    answer_statement,
)
from noise.protocol.identifiers import NO_EPOCH, format_id, parse_seq
from noise.protocol.log_pages import EpochStatements, Inclusion
from noise.protocol.trust import Trusted
from noise_client.allowance import Allowance
from noise_client.device import Device
from noise_client.evidence_store import Gained
from noise_client.exporting import compare_section, exported_checkpoints, exported_section
from noise_client.kept_history import KeptHistory
from noise_client.log_watch import LogLookup, LogWatch, Lookup, NoteLookup
from noise_client.pair_watch import NOTHING_FOUND, Finding, PairWatch
from noise_client.proof_book import News, ProofBook
from noise_client.receipt_book import ReceiptBook
from noise_client.refused import Refused
from noise_client.retention import Policy
from noise_client.trust_store import TrustStore
from noise_client.verdicts import Docket, Judgement, Reason, Verdict

LOG_BEHIND = "log-behind"
"""The suspicion that the provider knows less than we have verified, until it shows that it does not."""

_OUTGOING_MAX = 1024
_ANSWERS_PER_MINUTE_MAX = 256
_USELESS_PER_MINUTE_MAX = 8
_ANSWERED_MAX = 1024
_TOLD_MAX = 64
_RETOLD_MAX = 4
_RETELL_MS = 10_000
_EPOCHS_AHEAD_MAX = 1_000_000


class Witness:
    """One device at one provider. `judgement` is replaced whenever it changes."""

    def __init__(
        self,
        store: TrustStore,
        device_id: bytes,
        origin: bytes,
        trusted: Trusted,
        policy: Policy,
        *,
        time_ms: Callable[[], int],
    ) -> None:
        self.device_id = device_id
        self.origin = origin
        self._store = store
        self._trusted = trusted
        self._history = KeptHistory(store, device_id, policy)
        self._time_ms = time_ms
        self._docket = Docket()
        self._proofs = ProofBook(store, origin, self._docket, time_ms)
        self._logs = LogWatch(store, origin, time_ms)
        self._pairs = PairWatch(store, device_id, origin, self.testify, time_ms)
        self._outgoing: list[tuple[bytes, GossipFrame]] = []
        self._lookups: list[Lookup] = []
        self._answers = Allowance(_ANSWERS_PER_MINUTE_MAX, time_ms)  # they are larger than questions
        self._useless = Allowance(_USELESS_PER_MINUTE_MAX, time_ms)  # a made-up proof can take long to check
        self._told_ms: dict[bytes, int] = {}
        self._asked_records: set[tuple[bytes, int]] = set()
        self._receipts = ReceiptBook(store)
        self._refused: Refused | None = None
        self._unanswered_epoch = 0 if store.load().bundle else NO_EPOCH  # we do not know when that was sent first
        for offence in store.offences()[-1:]:
            self.suspect("refused", "refused-delta", f"the provider sent what does not verify: {offence.detail}")
        if trusted.shared is not None:
            self.note_step(trusted)

    @property
    def trusted(self) -> Trusted:
        """What was verified last."""
        return self._trusted

    @property
    def is_settled(self) -> bool:
        """Whether every receipt that we got is honoured, or became a proof."""
        return self._receipts.is_empty

    @property
    def judgement(self) -> Judgement:
        return self._docket.judgement

    def note_step(self, trusted: Trusted, gained: Gained | None = None) -> None:
        """A step is stored and adopted: compare what had to wait for it, and forget what may be forgotten."""
        self._trusted = trusted
        self._history.extend(gained.records if gained else ())
        self._clear(LOG_BEHIND)
        reached = trusted.delivered.state.last_epoch + 1 if trusted.delivered else 0
        self._pairs.next_epoch = trusted.log.size if trusted.is_complete else reached
        self._lookups += self._logs.note_step(trusted, gained.notes if gained else ())
        for peer, checkpoint in self._logs.ready():
            with suppress(NoiseError):  # its roster is gone meanwhile
                self._compare_logs(peer, checkpoint)
        for peer, cut in self._pairs.ready():
            self._take_finding(peer, self._pairs.hear_cut(peer, cut))
        self._settle_receipts()
        if self._history.is_due:
            self.prune()

    def note_sent(self) -> None:
        """A bundle leaves. Until it is answered nothing is forgotten that its receipt could contradict: or a provider
        could drop it, and hold the receipt back until that is forgotten."""
        self._unanswered_epoch = min(self._unanswered_epoch, self._pairs.next_epoch)

    def note_refused_bundle(self) -> None:
        """The bundle was refused: there is nothing to be honoured."""
        self._unanswered_epoch = NO_EPOCH

    def note_receipt(self, bundle: Bundle, receipt: Receipt) -> None:
        """The provider has signed for a bundle of ours: it owes us our own copy, as it stands in the receipt."""
        self._unanswered_epoch = NO_EPOCH
        epoch = parse_seq(receipt.first_seq)[0]
        if epoch > self._trusted.log.size + _EPOCHS_AHEAD_MAX:
            self.suspect(f"receipt {epoch}", "receipt-far", f"a receipt is for epoch {epoch}, which may never come")
        self._receipts.add(bundle, receipt)
        self._settle_receipts()

    def _settle_receipts(self) -> None:
        for proof in self._receipts.settle(self._pairs.next_epoch, self.material()):
            self._keep_proof(proof)

    def note_refusal(self, delta: Delta, lists: RecipientLists, detail: str) -> None:
        """The follower refused a delta: prove what can be proven from it and from what is kept.

        What the delta commits to is shown to peers that ask for it: theirs may contradict it.
        """
        proof = accuse_refusal(self._trusted, delta, self.origin, self.device_id, lists, self.material())
        if proof is None or not self._keep_proof(proof):
            self.suspect("refused", "refused-delta", f"the provider sent what does not verify: {detail}")
            self._refused = Refused(self._trusted, delta, lists, self.material())
            for peer in {*self._refused.peers(), *self._store.peers(2**62)[:_TOLD_MAX]} - {self.device_id}:
                self._ask_about_refused(peer)

    def view(self, peer: bytes) -> View:
        """What to tell a peer, unasked."""
        return View(self._logs.compact_note(), self._pairs.cuts(peer))

    def encoded_view(self, peer: bytes) -> bytes:
        """The same, as it travels in a sealed message."""
        return VIEW.encode(self.view(peer))

    def hear_view(self, peer: bytes, encoded: bytes) -> None:
        """A view that came in a sealed message. What makes no sense says nothing about the provider."""
        try:
            self.hear(peer, ViewFrame(VIEW.decode(encoded)))
        except NoiseError:
            return

    def hear(self, peer: bytes, frame: GossipFrame) -> None:
        """A frame of a peer, which is who it says it is. Raises NoiseError for what no honest peer says."""
        if isinstance(frame, ViewFrame):
            for cut in frame.view.cuts:
                self._take_finding(peer, self._pairs.hear_cut(peer, cut))
            if frame.view.checkpoint is not None:
                self._compare_logs(peer, frame.view.checkpoint)
            self._ask_about_refused(peer)
        elif isinstance(frame, StatementFrame) and self._refused and frame.seq in self._refused.seqs():
            self._compare_refused(peer, frame)
        elif isinstance(frame, SectionFrame | StatementFrame):
            self._take_finding(peer, self._pairs.hear_answer(peer, frame))
        elif isinstance(frame, LogFrame):
            if frame.opening and (peer, frame.epoch) in self._asked_records:
                self._asked_records.discard((peer, frame.epoch))
                self.hear_opening(frame.opening)
        elif isinstance(frame, ProofFrame):
            self._hear_proof(peer, frame.proof)
        elif self._answers.take(peer):
            self._answer(peer, frame)

    def _compare_logs(self, peer: bytes, checkpoint: CompactCheckpoint) -> None:
        found = self._logs.hear(peer, checkpoint)
        if isinstance(found, LogLookup):
            self._lookups.append(found)
        elif found is not None:
            self._keep_proof(found)

    def _hear_proof(self, peer: bytes, proof: bytes) -> None:
        """Only what convicts explains why we differ. Raises NotProven."""
        verdict = self._keep_proof(proof, known_to=peer) if self._useless.has_left(peer) else None
        if verdict is None:
            self._useless.take(peer)
            raise NotProven("what the peer calls a proof convicts nobody of ours")
        if not verdict.is_suspicion:
            self._pairs.explain(peer)
            self._clear(_pair_key(peer))

    def _answer(self, peer: bytes, frame: GossipFrame) -> None:
        if isinstance(frame, SectionRequest):
            self._say(peer, self._pairs.answer(peer, frame))
        elif isinstance(frame, StatementRequest):
            self._say(peer, answer_statement(frame, lambda seq: TESTIMONY.encode(self._testify_to(seq, peer))))
        elif isinstance(frame, LogRequest):
            self._say(peer, answer_log(frame, self._logs.opening))

    def _ask_about_refused(self, peer: bytes) -> None:
        """What the provider committed to in a delta that we refused: has the peer got the same? Whoever we know is
        asked: the list of recipients that we were shown may be what is false."""
        for seq in self._refused.seqs() if self._refused else ():
            self._say(peer, StatementRequest(0, seq))

    def _compare_refused(self, peer: bytes, frame: StatementFrame) -> None:
        if self._refused is None or not frame.testimony:
            return
        theirs = TESTIMONY.decode(frame.testimony)
        with suppress(EvidenceUnavailable, NotProven):  # of most messages in a refused delta all say the same
            ours = self._refused.testify_against(frame.seq, peer)
            if self._keep_proof(accuse_message(self.origin, ours, self.device_id, theirs, peer, frame.seq)):
                self._clear("refused")

    def export(self, device: Device, peer: bytes | None) -> bytes:
        """A signed view as a file: for one peer, or for everybody with our checkpoints alone. Raises NoiseError."""
        section = exported_section(self._pairs, peer, self.testify) if peer is not None else None
        checkpoints = exported_checkpoints(self._logs.openings())
        key = device.signer.public_key
        view = ExportedView(self.origin, self.device_id, key, self._time_ms(), checkpoints, section)
        return sign_view(device.signer, view)

    def hear_exported(self, data: bytes) -> bytes:
        """A peer's view from a file, compared; the peer's id. Raises NoiseError for what is no view for us."""
        view = open_view(data, self.origin)
        peer, section = view.device_id, view.section
        if peer == self.device_id:
            raise NoiseError("this view is our own: give it to a peer", code="own-view")
        if section is not None and section.peer_id != self.device_id:
            raise NoiseError("this view is for another device: ask for one for ours", code="foreign-view")
        for checkpoint in view.checkpoints:
            with suppress(NoiseError):
                self._compare_logs(peer, checkpoint)
        if section is not None:
            self._pairs.retry(peer)
            for cut in section.cuts:
                self._take_finding(peer, compare_section(self._pairs, peer, section, cut))
        return peer

    def _retell(self, peer: bytes) -> None:
        """A peer does not know yet what we can prove: what we said may have been lost, or dropped."""
        now = self._time_ms()
        if now - self._told_ms.get(peer, now - _RETELL_MS) >= _RETELL_MS and len(self._told_ms) < _ANSWERED_MAX:
            self._told_ms[peer] = now
            for frame in self.proof_frames():
                self._say(peer, frame)

    def proof_frames(self) -> list[GossipFrame]:
        """The first proofs that are kept, for a peer that may have been away when they were new."""
        return [ProofFrame(proof) for proof in self._proofs.proofs(_RETOLD_MAX)]

    def _testify_to(self, seq: bytes, peer: bytes) -> Testimony:
        """What a peer may know: messages that are for it, too. That there is none would show our others': whoever lacks
        a message has the proof, and tells."""
        testimony = self.testify(seq, peer)
        if testimony.absent is not None:
            raise EvidenceUnavailable("what is not there is nobody's business", code="evidence-private")
        return testimony

    def questions(self) -> list[tuple[bytes, GossipFrame]]:
        """What was asked and not answered yet, to be asked again after a while."""
        return self._pairs.questions()

    def _take_finding(self, peer: bytes, finding: Finding) -> None:
        key = _pair_key(peer)
        if finding is NOTHING_FOUND:
            return
        if finding.is_proven:
            self._retell(peer)
        if finding.question is not None:
            self._say(peer, finding.question)
        if finding.proof and self._keep_proof(finding.proof):
            self._say(peer, ProofFrame(finding.proof))
            self._clear(key)
        elif finding.suspicion:
            self.suspect(key, "peer-differs", finding.suspicion)
        elif finding.suspicion == "":
            self._clear(key)

    def take_lookups(self) -> list[Lookup]:
        """What to ask the provider for over HTTP; each is answered by one of the three methods that follow."""
        lookups, self._lookups = self._lookups, []
        return lookups

    def hear_log(self, lookup: LogLookup, proof: Sequence[bytes]) -> bool:
        """Whether the provider's answer shows that a peer's log is the beginning of ours. If not, `hear_fork`."""
        key = f"log:{format_id(lookup.peer)}"
        if self._logs.check_log(lookup, proof):
            self._clear(key)
            return True
        name = format_id(lookup.peer)
        doubt = f"the provider does not show that the log of {lookup.checkpoint.size} epochs that {name} saw is ours"
        self.suspect(key, "log-differs", doubt)
        return False

    def hear_fork(self, lookup: LogLookup, statements: EpochStatements, inclusion: Inclusion) -> None:
        """What our log has where the peer's ends: kept, and the peer is asked for its own. Raises NoiseError."""
        self._logs.keep_fork(lookup, statements, inclusion)
        epoch = lookup.checkpoint.size - 1
        if len(self._asked_records) < _ANSWERED_MAX:
            self._asked_records.add((lookup.peer, epoch))
        self._say(lookup.peer, LogRequest(0, epoch))

    def hear_note(
        self, lookup: NoteLookup, statements: EpochStatements, inclusion: Inclusion, proof: Sequence[bytes]
    ) -> None:
        """A distinguished checkpoint, kept. Raises NoiseError for one that does not lead to our log."""
        self._logs.keep_distinguished(lookup, statements, inclusion, proof)

    def take_outgoing(self) -> list[tuple[bytes, GossipFrame]]:
        """(peer, frame) to be carried to it, if there is a way."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def testify(self, seq: bytes, peer: bytes) -> Testimony:
        """What the provider said to us about a message. Raises EvidenceUnavailable, with the reason as its code."""
        try:
            return testify(self.material(), seq, peer)
        except EvidenceUnavailable as error:
            if error.code != "evidence-future" or self._refused is None:
                raise
            return self._refused.testify(seq, peer)

    def material(self) -> Material:
        """All that is kept."""
        return self._history.material(self.origin, self._trusted)

    def openings(self) -> list[LogOpening]:
        """Every epoch record that we can open by ourselves, newest first."""
        return self._logs.openings()

    def hear_record(self, epoch: int, statements: EpochStatements, inclusion: Inclusion) -> None:
        """A record as the provider's log has it now. Raises NoiseError for what makes no sense."""
        note = statements.note.encode()
        self.hear_opening(LOG_OPENING.encode(LogOpening(note, epoch, statements.record, inclusion.proof)))

    def hear_opening(self, encoded: bytes) -> None:
        """A record of the log as somebody else saw it. Raises NoiseError for what makes no sense."""
        proof = self._logs.hear_opening(encoded)
        if proof is not None:
            self._keep_proof(proof)

    def set_stale(self, reason: Reason | None) -> None:
        """Nothing newer was verified for too long; None: that is over."""
        if reason is None:
            self._docket.remove(Verdict.STALE, "stale")
        else:
            self._docket.add(Verdict.STALE, "stale", reason)

    def suspect(self, key: str, code: str, detail: str) -> None:
        """Something that an honest provider has no reason for."""
        self._docket.add(Verdict.SUSPECTED, key, Reason(code, detail))

    def prune(self) -> None:
        """Forget what the policy does not keep."""
        if self._pairs.next_epoch:
            needed = 0 if self._pairs.is_disputing else min(self._unanswered_epoch, self._receipts.first_epoch)
            self._history.forget(self._pairs.chains, self._pairs.next_epoch - 1, needed)

    @property
    def cases(self) -> tuple[bytes, ...]:
        """Proofs that convict the provider, and leave open which of its actors lied."""
        return self._proofs.cases

    def note_blame(self, case: bytes, proof: bytes) -> None:
        """Nothing more is to be found out: this names an actor, or says that one is silent, or is the case again."""
        self._keep_proof(proof)
        self._proofs.drop_case(case)

    def _keep_proof(self, proof: bytes, known_to: bytes = b"") -> ProofVerdict | None:
        """What it proves, if anything. The first of a class and accused, if nobody has told us, we tell our peers: a
        lie may go on in every epoch, and telling makes epochs."""
        ruling = self._proofs.keep(proof)
        if ruling is None:
            return None
        if ruling.news is News.FIRST and not known_to:
            for peer in self._store.peers(2**62)[:_TOLD_MAX]:
                if peer != self.device_id:
                    self._say(peer, ProofFrame(proof))
        return ruling.verdict

    def _say(self, peer: bytes, frame: GossipFrame) -> None:
        if len(self._outgoing) < _OUTGOING_MAX:
            self._outgoing.append((peer, frame))

    def _clear(self, key: str) -> None:
        self._docket.remove(Verdict.SUSPECTED, key)


def _pair_key(peer: bytes) -> str:
    return f"pair:{format_id(peer)}"
