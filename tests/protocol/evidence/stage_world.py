"""A whole provider without I/O, several lanes and outboxes, in which any stage can lie; and what each actor answers.

Knows nothing of blame. A lie is a function that changes what a stage makes of its input, before that is signed: an
inbox's leaves, a router's content of every outbox, a receiver's or an outbox's content. Stages that do not lie pass on
what they are given. With `twice` a stage signs its true statement too, keeps that, and passes on the lie.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.delta import OtherLeaf, SignedHead, SignedRoster
from noise.protocol.envelope import Bundle, Recipients
from noise.protocol.evidence.absences import Absence
from noise.protocol.evidence.material import place_leaf
from noise.protocol.evidence.openings import (
    CommittedLeaf,
    HeadOpening,
    LeafOpening,
    LogOpening,
    RecordOpening,
    SequencedLeaf,
    StateOpening,
)
from noise.protocol.evidence.stage_views import (
    CustodyAnswer,
    MergeView,
    Question,
    RouteView,
    SequencedView,
    StageCustody,
    items_of,
    make_merge_view,
    make_route_view,
    make_sequenced_view,
)
from noise.protocol.history import (
    HISTORY_RECORD,
    MAILBOX_STATE,
    History,
    apply_record,
    hash_state,
    map_key_of,
    new_history,
    next_record,
    own_ciphertexts_root,
)
from noise.protocol.identifiers import Actor, Role, make_seqs, parse_actor, parse_seq
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hash, leaf_hashes, tree_root
from noise.protocol.placement import actors_of, place_mailbox
from noise.protocol.signing import Signed, Signer
from noise.protocol.stages import entry_hash, item_hash, items_root, receiver_of, router_of
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_RECORD,
    MANIFEST,
    MERGE_SHEET,
    MESSAGE_LEAF,
    NO_OVERRIDES,
    ROUTE_SHEET,
    EpochHead,
    EpochRecord,
    Manifest,
    MergeSheet,
    Roster,
    RouteEntry,
    RouteSheet,
    hash_head,
    hash_manifest,
    hash_merge,
    hash_open,
    hash_roster,
    hash_route,
    message_leaves,
    statement_leaf_hash,
)
from tests.vectors.cast import (
    CREATED_MS,
    LOG,
    LOG_NAME,
    NO_PREVIOUS,
    ORIGIN,
    actor_key,
    make_roster,
    sign_roster,
    signer_of,
)

Content = dict[bytes, list[bytes]]
"""The leaves of each mailbox. An inbox's: all of them, under no mailbox."""

Lie = Callable[[Any], None]
"""Changes a Content in place; a router's: contents by outbox."""

SEQUENCED = b""


class Made(NamedTuple):
    """What an actor signed, and what it is about."""

    signed: Signed
    content: Any
    entries: tuple[RouteEntry, ...] = ()


class Epoch(NamedTuple):
    """`made`: what each actor keeps of its own output. `told`: what it passed on, which is that too, unless it lied."""

    number: int
    roster: Roster
    roster_hash: bytes
    made: dict[Actor, Made]
    told: dict[Actor, Made]
    states: dict[Actor, StateMap[bytes]]
    statements: list[tuple[bytes, bytes]]
    record: bytes
    note: bytes


class Kept(NamedTuple):
    """A mailbox's history. `leaves[k]`: what record k delivered."""

    history: History
    records: tuple[bytes, ...]
    leaves: tuple[tuple[bytes, ...], ...]


class World:
    def __init__(self, n_inboxes: int = 2, n_outboxes: int = 2) -> None:
        self.roster = make_roster(n_inboxes, n_outboxes)
        self.rosters = [sign_roster(self.roster)]
        self.epochs: list[Epoch] = []
        self.kept: list[dict[bytes, Kept]] = []
        self.sets: dict[bytes, Recipients] = {}
        self._log: list[bytes] = []

    def key_of(self, actor: Actor, roster: Roster) -> Signer:
        incarnation = roster.entry(actor).incarnation
        return signer_of(f"{actor} again {incarnation}") if incarnation else actor_key(actor)

    def signed_rosters(self) -> tuple[SignedRoster, ...]:
        return tuple(SignedRoster(*signed) for signed in self.rosters)

    def rotate(self, *actors: Actor) -> None:
        """These actors go on as their next incarnations, from the next epoch on."""
        roster = self.roster._replace(
            version=self.roster.version + 1,
            previous=hash_roster(self.rosters[-1].body),
            valid_from_epoch=len(self.epochs),
            actors=tuple(
                entry._replace(
                    incarnation=entry.incarnation + 1,
                    key=signer_of(f"{parse_actor(entry.actor)} again {entry.incarnation + 1}").public_key,
                )
                if parse_actor(entry.actor) in actors
                else entry
                for entry in self.roster.actors
            ),
        )
        self.roster = roster
        self.rosters.append(sign_roster(roster))

    def forge_route(self, router: Actor, number: int, lie: Lie) -> Made:
        """What a thief of the key that `router` had by the first roster signs for epoch `number`."""
        thief = World()
        thief.rosters, thief.roster, thief.sets = self.rosters[:1], self.epochs[0].roster, self.sets
        thief.epochs = self.epochs[:number]
        inbox, step = Actor(Role.INBOX, 0, router.number), _Step(thief, {router: lie}, twice=False)
        step.told[inbox] = self.epochs[number].told[inbox]
        step.route(router, thief.roster.lanes[inbox.number].lane, inbox)
        return step.told[router]

    def run(self, *lanes: Sequence[Bundle], lies: Mapping[Actor, Lie] | None = None, twice: bool = False) -> Epoch:
        """One epoch. `lanes[i]`: what inbox i was sent."""
        step = _Step(self, lies or {}, twice)
        for inbox, lane in zip(actors_of(self.roster, Role.INBOX), self.roster.lanes, strict=True):
            bundles = lanes[inbox.number] if inbox.number < len(lanes) else ()
            step.sequence(inbox, lane.lane, bundles)
            step.route(router_of(inbox.encode()), lane.lane, inbox)
        for outbox in actors_of(self.roster, Role.OUTBOX):
            step.merge(receiver_of(outbox))
        self.kept.append(dict(self.kept[-1]) if self.kept else {})
        for outbox in actors_of(self.roster, Role.OUTBOX):
            step.deliver(outbox, self.kept[-1])
        epoch = step.commit(tree_root(self._log))
        self._log.append(leaf_hash(epoch.record))
        note = sign_checkpoint(LOG, Checkpoint(LOG_NAME, len(self._log), tree_root(self._log)))
        self.epochs.append(epoch._replace(note=note))
        return self.epochs[-1]

    def state(self, mailbox: bytes, number: int = -1) -> StateOpening:
        """As of an epoch."""
        number %= len(self.epochs)
        epoch = self.epochs[number]
        outbox = place_mailbox(epoch.roster, mailbox)
        log = LogOpening(epoch.note, number, epoch.record, tuple(Tree(self._log[: number + 1]).inclusion(number)))
        tree = Tree([statement_leaf_hash(*one) for one in epoch.statements])
        at = [actor for actor, _ in epoch.statements].index(outbox.encode())
        head = HeadOpening(log, SignedHead(*epoch.told[outbox].signed), tuple(tree.inclusion(at)))
        states, key = epoch.states[outbox], map_key_of(mailbox)
        proof = states.prove(key)
        other = OtherLeaf(*proof.other) if proof.other else None
        return StateOpening(head, mailbox, states.get(key) or b"", proof.siblings, other)

    def word(self, question: Question, number: int = -1) -> LeafOpening | Absence:
        """What the mailbox's outbox says as of an epoch: delivered or absent."""
        seq, mailbox = question
        opening, kept = self.state(mailbox, number), self.kept[number].get(mailbox)
        epoch = parse_seq(seq)[0]
        if kept is None or kept.history.state.last_epoch < epoch:
            return Absence(opening, None, None, None)
        epochs = [HISTORY_RECORD.decode(record).epoch for record in kept.records]
        k = next(k for k, one in enumerate(epochs) if one >= epoch)
        proof = Tree(leaf_hashes(kept.records)).inclusion(k)
        record = RecordOpening(opening, k, kept.records[k], tuple(proof))
        if epochs[k] > epoch:
            return Absence(None, record, None, None)
        seqs = [MESSAGE_LEAF.decode(leaf).seq for leaf in kept.leaves[k]]
        if seq in seqs:
            return LeafOpening(record, *place_leaf(kept.leaves[k], seqs.index(seq)))
        at = sum(one < seq for one in seqs)
        before = place_leaf(kept.leaves[k], at - 1) if at else None
        after = place_leaf(kept.leaves[k], at) if at < len(seqs) else None
        return Absence(None, record, before, after)

    def delivered(self, question: Question, number: int = -1) -> CommittedLeaf:
        word = self.word(question, number)
        assert isinstance(word, LeafOpening)
        return CommittedLeaf(None, word)

    def absent(self, question: Question, number: int = -1) -> Absence:
        word = self.word(question, number)
        assert isinstance(word, Absence)
        return word

    def sequenced(self, seq: bytes) -> SequencedLeaf:
        """By the manifest that the inbox passed on."""
        view = self._sequenced_view(Question(seq, bytes(32)), is_told=True)
        assert view.message is not None
        return view.message

    def answer(self, actor: Actor, question: Question, number: int = -1) -> CustodyAnswer:
        """What the actor would answer that was on the question's way; histories as of epoch `number`."""
        return CustodyAnswer(self.signed_rosters(), question, (self.custody(actor, question, number),))

    def answers(self, question: Question, *, silent: Sequence[Actor] = (), number: int = -1) -> list[CustodyAnswer]:
        """Of all on the way, but for the silent."""
        return [self.answer(actor, question, number) for actor in self.way(question) if actor not in silent]

    def way(self, question: Question) -> tuple[Actor, ...]:
        """Inbox, router, receiver, outbox; the last two, for a lane that there is not."""
        epoch, lane, _ = parse_seq(question.seq)
        roster = self.epochs[epoch].roster
        outbox = place_mailbox(roster, question.mailbox)
        ends = (receiver_of(outbox), outbox)
        inboxes = [one.inbox for one in roster.lanes if one.lane == lane]
        return (parse_actor(inboxes[0]), router_of(inboxes[0]), *ends) if inboxes else ends

    def custody(self, actor: Actor, question: Question, number: int = -1) -> StageCustody:
        code = actor.encode()
        match actor.role:
            case Role.INBOX:
                return StageCustody(code, sequenced=self._sequenced_view(question))
            case Role.ROUTER:
                given = self._sequenced_view(question, is_told=True)
                return StageCustody(code, sequenced=given, routed=self._route_view(question))
            case Role.RECEIVER:
                routed = self._route_view(question, is_told=True) if len(self.way(question)) == 4 else None
                return StageCustody(code, routed=routed, merged=self._merge_view(question))
        epoch = self.epochs[parse_seq(question.seq)[0]]
        word = self.word(question, number)
        return StageCustody(
            code,
            merged=self._merge_view(question, is_told=True),
            head=SignedHead(*epoch.made[actor].signed),
            delivered=word if isinstance(word, LeafOpening) else None,
            absent=word if isinstance(word, Absence) else None,
        )

    def _of(self, question: Question, place: int, is_told: bool) -> tuple[Epoch, Made]:
        epoch = self.epochs[parse_seq(question.seq)[0]]
        return epoch, (epoch.told if is_told else epoch.made)[self.way(question)[place]]

    def _sequenced_view(self, question: Question, is_told: bool = False) -> SequencedView:
        epoch, made = self._of(question, -4, is_told)
        leaves, pos = made.content[SEQUENCED], parse_seq(question.seq)[2]
        recipients = None
        if pos < len(leaves):
            recipients = self.sets[MESSAGE_LEAF.decode(leaves[pos]).recipients_root]
        return make_sequenced_view(made.signed, epoch.roster_hash, leaves, recipients, question)

    def _route_view(self, question: Question, is_told: bool = False) -> RouteView:
        made, outbox = self._of(question, -3, is_told)[1], self.way(question)[-1]
        return make_route_view(made.signed, made.entries, outbox, made.content[outbox], question)

    def _merge_view(self, question: Question, is_told: bool = False) -> MergeView:
        made = self._of(question, -2, is_told)[1]
        return make_merge_view(made.signed, made.content, question)


class _Step:
    """One epoch being made."""

    def __init__(self, world: World, lies: Mapping[Actor, Lie], twice: bool) -> None:
        self.world, self.lies, self.twice = world, lies, twice
        self.number, self.roster = len(world.epochs), world.roster
        self.roster_hash = hash_roster(world.rosters[-1].body)
        self.made: dict[Actor, Made] = {}
        self.told: dict[Actor, Made] = {}
        self.states: dict[Actor, StateMap[bytes]] = {}

    def _sign(self, actor: Actor, content: Any, make: Callable[[Any], Made]) -> None:
        """`make`: from a content to a statement."""
        self.made[actor] = self.told[actor] = make(content)
        if actor in self.lies:
            lied = _copy(content)
            self.lies[actor](lied)
            self.told[actor] = make(lied)
            if not self.twice:
                self.made[actor] = self.told[actor]

    def _head_of(self, actor: Actor) -> tuple[bytes, bytes, int, int]:
        return ORIGIN, actor.encode(), self.roster.entry(actor).incarnation, self.number

    def sequence(self, inbox: Actor, lane: int, bundles: Sequence[Bundle]) -> None:
        leaves: list[bytes] = []
        for bundle in bundles:
            self.world.sets.update((members.root, members) for members in bundle.recipients)
            leaves += message_leaves(bundle, make_seqs(self.number, lane, len(leaves), bundle.count))

        def make(content: Content) -> Made:
            root = tree_root(leaf_hashes(content[SEQUENCED]))
            body = Manifest(*self._head_of(inbox), lane, len(content[SEQUENCED]), root, NO_PREVIOUS)
            return Made(self._signed(inbox, "manifest", MANIFEST.encode(body)), content)

        self._sign(inbox, {SEQUENCED: leaves}, make)

    def route(self, router: Actor, lane: int, inbox: Actor) -> None:
        given = self.told[inbox]
        contents: dict[Actor, Content] = {outbox: {} for outbox in actors_of(self.roster, Role.OUTBOX)}
        for leaf in given.content[SEQUENCED]:
            for mailbox in self.world.sets[MESSAGE_LEAF.decode(leaf).recipients_root].device_ids:
                contents[place_mailbox(self.roster, mailbox)].setdefault(mailbox, []).append(leaf)

        def make(sorted_to: dict[Actor, Content]) -> Made:
            entries = tuple(RouteEntry(o.encode(), len(c), _root_of(c)) for o, c in sorted_to.items())
            root = tree_root([entry_hash(*entry) for entry in entries])
            made_from = (self.roster_hash, lane, hash_manifest(given.signed.body))
            body = RouteSheet(*self._head_of(router), *made_from, len(entries), root, NO_PREVIOUS)
            return Made(self._signed(router, "route", ROUTE_SHEET.encode(body)), sorted_to, entries)

        self._sign(router, contents, make)

    def merge(self, receiver: Actor) -> None:
        outbox = receiver._replace(role=Role.OUTBOX)
        given = [self.told[router_of(one.inbox)] for one in self.roster.lanes]
        content: Content = {}
        for made in given:
            for mailbox, leaves in made.content[outbox].items():
                if place_mailbox(self.roster, mailbox) == outbox:
                    content.setdefault(mailbox, []).extend(leaves)
        inputs = tuple(hash_route(made.signed.body) for made in given)

        def make(merged: Content) -> Made:
            head, root = self._head_of(receiver), _root_of(merged)
            body = MergeSheet(*head, self.roster_hash, inputs, len(merged), root, NO_PREVIOUS)
            return Made(self._signed(receiver, "merge", MERGE_SHEET.encode(body)), merged)

        self._sign(receiver, content, make)

    def deliver(self, outbox: Actor, kept: dict[bytes, Kept]) -> None:
        """The head that it tells is the committed one."""
        given = self.told[receiver_of(outbox)]
        before = dict(kept)

        def make(content: Content) -> Made:
            for mailbox in [m for m in before if place_mailbox(self.roster, m) == outbox] + list(content):
                kept.pop(mailbox, None)
                if mailbox in before:
                    kept[mailbox] = before[mailbox]
            for mailbox, leaves in content.items():
                kept[mailbox] = _deliver(kept.get(mailbox), mailbox, self.number, leaves)
            own = [(m, one) for m, one in sorted(kept.items()) if place_mailbox(self.roster, m) == outbox]
            encoded = [(m, MAILBOX_STATE.encode(one.history.state)) for m, one in own]
            states = StateMap[bytes].empty().update([(map_key_of(m), hash_state(s), s) for m, s in encoded])
            self.states[outbox] = states
            head, made_from = self._head_of(outbox), hash_merge(given.signed.body)
            body = EpochHead(*head, made_from, states.root_hash, states.count, NO_PREVIOUS, self.roster_hash)
            return Made(self._signed(outbox, "head", EPOCH_HEAD.encode(body)), content)

        self._sign(outbox, given.content, make)

    def commit(self, prev_root: bytes) -> Epoch:
        hashers = {Role.INBOX: hash_manifest, Role.ROUTER: hash_route, Role.RECEIVER: hash_merge}
        statements = []
        for actor in map(parse_actor, self.roster.signers()):
            if actor.role is Role.SEQUENCER:
                statements.append((actor.encode(), hash_open(b"opened")))
            else:
                statements.append((actor.encode(), hashers.get(actor.role, hash_head)(self.told[actor].signed.body)))
        root = tree_root([statement_leaf_hash(*one) for one in statements])
        record = EpochRecord(
            *(self.number, prev_root, CREATED_MS + self.number, self.roster_hash, NO_OVERRIDES, 0),
            *(root, len(statements), EMPTY_ROOT, 0, 0),
        )
        encoded = EPOCH_RECORD.encode(record)
        made = (self.made, self.told, self.states, statements, encoded, b"")
        return Epoch(self.number, self.roster, self.roster_hash, *made)

    def _signed(self, actor: Actor, label: str, body: bytes) -> Signed:
        return self.world.key_of(actor, self.roster).sign(label, ORIGIN, body)


def _root_of(content: Content) -> bytes:
    return items_root([item_hash(*item) for item in items_of(content)])


def _copy(content: Any) -> Any:
    return {key: _copy(value) if isinstance(value, dict) else list(value) for key, value in content.items()}


def _deliver(kept: Kept | None, mailbox: bytes, number: int, leaves: Sequence[bytes]) -> Kept:
    before = kept or Kept(new_history(mailbox, number), (), ())
    root = tree_root(leaf_hashes(leaves))
    record = next_record(before.history, number, len(leaves), root, own_ciphertexts_root([]))
    encoded = HISTORY_RECORD.encode(record)
    history = apply_record(before.history, record, encoded, leaves[-1][2:18])
    return Kept(history, (*before.records, encoded), (*before.leaves, tuple(leaves)))
