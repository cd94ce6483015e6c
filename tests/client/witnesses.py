"""Devices that follow a `Liar` and keep what they are told in the SDK's own `Witness`, and a carrier between them.

Must not know: what any test is about. Frames travel as bytes; a provider's log answers look-ups as its faces would.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random

from noise.protocol.delta import Delta, RecipientLists
from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.follower import Follower, new_lists
from noise.protocol.gossip import CONTENT_FRAMES, GossipFrame, ViewFrame, encode_gossip, parse_gossip
from noise.protocol.log_pages import EpochStatements, Inclusion, SignedOpen
from noise.protocol.merkle import Tree, consistency_proof, leaf_hash
from noise.protocol.trust import NOTHING, encode_trusted, parse_trusted
from noise_client import Device, MemoryTrustStore, TrustStore
from noise_client.kept_history import gained_by
from noise_client.log_watch import LogLookup
from noise_client.retention import DEFAULT_POLICY, Cumulative, Layered, Policy, Stability, Window
from noise_client.verdicts import Verdict
from noise_client.witness import Witness
from tests.protocol.evidence.materials import retell
from tests.protocol.liar import Liar, Placed
from tests.protocol.story import letter
from tests.vectors.cast import ORIGIN, device_of, seed_of

ROUND_MS = 700_000
"""Between two rounds of a conversation: what was not answered, or given up, is tried again by then."""

ROUNDS = 4
"""Of a conversation: a view, a page of a chain, a statement, and whatever is asked again."""

PATIENT = (Window(), Stability(), Layered())
POLICIES: tuple[Policy, ...] = (*PATIENT, Window(3), Cumulative(), Layered(Window(2)))
"""Those that keep what a test is about, and all."""


class Keeper:
    """A device, over a store in memory unless it has another. `refusals`: the codes of deltas that it refused."""

    def __init__(self, name: str, policy: Policy = DEFAULT_POLICY, store: TrustStore | None = None) -> None:
        self.device = Device(seed_of(name))
        self.id = self.device.device_id
        self.store = store or MemoryTrustStore(self.device)
        self.refusals: list[str] = []
        self.now_ms = 7
        self._policy = policy
        self.open()

    def open(self) -> None:
        """A new process: it knows what was stored."""
        stored = self.store.load().trusted
        trusted = parse_trusted(stored) if stored else NOTHING
        self.follower = Follower(ORIGIN, self.id, trusted, last_counter=self.store.last_counter)
        self.lists = RecipientLists()
        self.witness = Witness(self.store, self.id, ORIGIN, trusted, self._policy, time_ms=lambda: self.now_ms)

    def take(self, delta: Delta) -> None:
        """Verify, store and adopt it, as a client does; or refuse it."""
        before = self.follower.trusted
        try:
            step = self.follower.check_delta(delta, self.lists)
        except ProviderMisbehaved as error:
            self.refusals.append(error.code)
            self.witness.note_refusal(delta, self.lists, error.detail)
            return
        gained = gained_by(before, step, delta)
        self.store.save_step(ORIGIN, encode_trusted(step.trusted), step.counters, (), gained)
        self.follower.adopt(step)
        self.witness.note_step(step.trusted, gained)
        self.lists.admit(new_lists(delta))

    def follow(self, liar: Liar, next_epoch: int | None = None) -> "Keeper":
        """Every epoch that it has not verified yet, one by one, or those before `next_epoch`."""
        for number in range(self.follower.trusted.log.size, len(liar.epochs) if next_epoch is None else next_epoch):
            self.take(liar.delta(self.id, self.follower.cursor, number=number))
        return self

    def skip_to(self, liar: Liar, number: int = -1, records_max: int | None = None) -> None:
        """One delta from where it is to an epoch."""
        self.take(liar.delta(self.id, self.follower.cursor, number=number, records_max=records_max))

    def hear(self, peer: bytes, frame: GossipFrame) -> None:
        """A frame as it comes over a carrier. What makes no sense is dropped, as a carrier does."""
        try:
            self.witness.hear(peer, parse_gossip(encode_gossip(frame), CONTENT_FRAMES))
        except NoiseError:
            return

    @property
    def verdict(self) -> Verdict:
        return self.witness.judgement.verdict

    @property
    def reasons(self) -> set[str]:
        return {reason.code for reason in self.witness.judgement.reasons}

    @property
    def kinds(self) -> list[str]:
        """The classes of the proofs that it keeps."""
        return [verify_proof(kept.proof, [ORIGIN]).kind for kept in self.store.proofs()]


Change = Callable[[bytes, bytes, GossipFrame], Sequence[GossipFrame]]
"""(sender, recipient, frame) to what arrives instead: nothing is a loss, two are a duplicate."""


def deliver_all(sender: bytes, recipient: bytes, frame: GossipFrame) -> Sequence[GossipFrame]:
    return (frame,)


def lossy(random: Random) -> Change:
    """A third is lost, and some comes twice."""
    return lambda sender, recipient, frame: [frame] * random.choice((0, 1, 1, 2))


def converse(
    *keepers: Keeper, random: Random | None = None, change: Change = deliver_all, rounds: int = ROUNDS
) -> None:
    """Everybody tells everybody how it stands, again and again; then all that is under way arrives, in any order."""
    by_id = {keeper.id: keeper for keeper in keepers}
    under_way: list[tuple[bytes, bytes, GossipFrame]] = []
    for _ in range(rounds):
        for keeper in keepers:
            keeper.now_ms += ROUND_MS
            peers = [peer for peer in by_id if peer != keeper.id]
            under_way += [(keeper.id, peer, ViewFrame(keeper.witness.view(peer))) for peer in peers]
            under_way += [(keeper.id, peer, frame) for peer, frame in keeper.witness.questions()]
        n_carried = 0
        while under_way:
            n_carried += 1
            assert n_carried < 2_000, "they never stop"
            sender, to, frame = under_way.pop(random.randrange(len(under_way)) if random else 0)
            for arrives in change(sender, to, frame) if to in by_id else ():
                by_id[to].hear(sender, arrives)
            for keeper in keepers:
                under_way += [(keeper.id, peer, answer) for peer, answer in keeper.witness.take_outgoing()]


def look_up(keeper: Keeper, liar: Liar) -> int:
    """The provider answers what a keeper asks about its log, by the log that it has now; how many times."""
    lookups = keeper.witness.take_lookups()
    for lookup in lookups:
        log = Tree(liar.leaves)
        if isinstance(lookup, LogLookup):
            old = lookup.checkpoint.size
            if not keeper.witness.hear_log(lookup, consistency_proof(log.node, old, lookup.size)):
                keeper.witness.hear_fork(lookup, *log_page(liar, old - 1, lookup.size))
        else:
            page = log_page(liar, lookup.wanted - 1, lookup.wanted)
            keeper.witness.hear_note(lookup, *page, consistency_proof(log.node, lookup.wanted, lookup.size))
    return len(lookups)


def log_page(liar: Liar, epoch: int, size: int) -> tuple[EpochStatements, Inclusion]:
    """A record, and its place in the log of a size, as the provider's faces show them."""
    shared = liar.delta(bytes(32), number=epoch).shared
    proof = Tree(liar.leaves[:size]).inclusion(epoch)
    statements = EpochStatements(shared.record, shared.note.decode(), (), (), (), (), SignedOpen(b"", bytes(64)))
    return statements, Inclusion(leaf_hash(shared.record), tuple(proof))


def omit(liar: Liar, name: str) -> None:
    """The last epoch is signed anew, and nothing arrived in it for this device: one log, for everybody."""
    mailbox = device_of(name)
    before = liar.epochs[-2].told.get(mailbox) if len(liar.epochs) > 1 else None
    if before is None:
        liar.told.pop(mailbox, None)
    retell(liar, *[before] if before else [])


def replace(liar: Liar, name: str, *placed: Placed) -> None:
    """The last epoch is signed anew, and this arrived in it for this device, whatever was sent."""
    mailbox = device_of(name)
    for bundle, _, _ in placed:
        liar.sets.update((recipients.root, recipients) for recipients in bundle.recipients)
    retell(liar, liar.epochs[-2].told[mailbox].then(len(liar.epochs) - 1, *placed))


def chat(n_epochs: int = 4, *, n_outboxes: int = 1) -> Liar:
    """alice and bob write to each other in turn, carol listens to every third epoch, and some are silent."""
    liar = Liar(n_outboxes)
    ctrs = {"alice": 1, "bob": 1}
    for number in range(n_epochs):
        sender = "alice" if number % 2 else "bob"
        to = ("alice", "bob", "carol") if number % 3 == 0 else ("alice", "bob")
        texts = [] if number % 5 == 4 else [b"%d" % number, b"and more"]
        liar.commit(*[letter(sender, ctrs[sender], *texts, to=to)] if texts else [])
        ctrs[sender] += len(texts)
    return liar


def couple(liar: Liar, policy: Policy = PATIENT[0]) -> tuple[Keeper, Keeper]:
    """alice and bob, who have verified everything."""
    return Keeper("alice", policy).follow(liar), Keeper("bob", policy).follow(liar)


def are_exposed(kind: str, *keepers: Keeper) -> None:
    for keeper in keepers:
        assert keeper.verdict is Verdict.EXPOSED, keeper.witness.judgement
        assert kind in keeper.kinds


def forked(n_common: int, n_alone: int) -> tuple[Liar, Liar]:
    """Two logs with a common beginning."""
    one = chat(n_common)
    other = deepcopy(one)
    for liar, text in ((one, b"one"), (other, b"other")):
        for number in range(n_alone):
            liar.commit(letter("alice", 50 + number, text))
    return one, other
