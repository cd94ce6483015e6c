"""A small provider whose every stage can lie while all the others go on honestly from what it signed.

Knows nothing of what an auditor checks. What honest stages make is written here in the plainest way, once more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from noise.protocol.audit_page import AuditLane, AuditMessage, AuditPage, make_audit_lane
from noise.protocol.checkpoint import Checkpoint, log_name_of, sign_checkpoint
from noise.protocol.delta import SignedHead
from noise.protocol.envelope import Bundle
from noise.protocol.frames import SignedManifest
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
from noise.protocol.identifiers import Actor, Role, parse_actor
from noise.protocol.log_pages import EpochStatements, SignedMerge, SignedOpen, SignedRoute
from noise.protocol.merkle import EMPTY_RANGE, EMPTY_ROOT, leaf_hash, tree_root
from noise.protocol.placement import place_mailbox
from noise.protocol.signing import SUITE_ED25519, Signed, Signer
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MANIFEST,
    MERGE_SHEET,
    MESSAGE_LEAF,
    NO_OVERRIDES,
    ROSTER,
    ROUTE_ENTRY,
    ROUTE_SHEET,
    SHEET_ITEM,
    STATEMENTS,
    EpochHead,
    EpochOpen,
    EpochRecord,
    Lane,
    Manifest,
    MergeSheet,
    MessageLeaf,
    Parameters,
    Roster,
    RosterEntry,
    RouteEntry,
    RouteSheet,
    SheetItem,
    hash_roster,
    statement_leaf_hash,
)
from tests.vectors.cast import ORIGIN, ROOT, signer_of

LOG_NAME = log_name_of(ORIGIN)
_CODECS: dict[type, tuple[Any, Any]] = {
    Manifest: (MANIFEST, SignedManifest),
    RouteSheet: (ROUTE_SHEET, SignedRoute),
    MergeSheet: (MERGE_SHEET, SignedMerge),
    EpochHead: (EPOCH_HEAD, SignedHead),
    EpochOpen: (EPOCH_OPEN, SignedOpen),
}

Content = dict[bytes, list[AuditMessage]]
"""What a stage holds for each mailbox."""

Routed = tuple[bytes, Content]
"""Hash of a route sheet, and what is under it."""


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Lie:
    """What one actor does. `content`: what it makes of its messages or of the content that it was given. `fields`:
    changed right before it signs. `signer`: with another key."""

    actor: str = ""
    content: Callable[[Any], Any] = _as_it_is
    fields: dict[str, Any] = field(default_factory=dict)
    signer: Signer | None = None


TRUTH = Lie()


class Turn(NamedTuple):
    """One epoch, as an auditor is shown it."""

    statements: EpochStatements
    page: AuditPage


def make_signed_roster(
    before: Sequence[Signed] = (),
    *,
    lanes: Sequence[int] = (0,),
    n_outboxes: int = 1,
    valid_from_epoch: int = 0,
    incarnations: dict[str, int] | None = None,
) -> Signed:
    """The roster after these, with an inbox for each lane, in their order."""
    numbers = {Role.INBOX: len(lanes), Role.ROUTER: len(lanes), Role.RECEIVER: n_outboxes, Role.OUTBOX: n_outboxes}
    actors = [Actor(role, 0, n) for role in Role for n in range(numbers.get(role, 1))]
    entries = []
    for actor in actors:
        incarnation = (incarnations or {}).get(str(actor), 1)
        entries.append(RosterEntry(actor.encode(), incarnation, SUITE_ED25519, _key(actor, incarnation).public_key))
    named = sorted((lane, Actor(Role.INBOX, 0, n).encode()) for n, lane in enumerate(lanes))
    roster = Roster(
        ORIGIN,
        len(before) + 1,
        hash_roster(before[-1].body) if before else bytes(32),
        valid_from_epoch,
        ROOT.public_key,
        LOG_NAME,
        tuple(entries),
        tuple(Lane(*one) for one in named),
        Parameters(20, 5000, 15000, 100, 10),
    )
    return ROOT.sign("roster", ORIGIN, ROSTER.encode(roster))


def _key(actor: Actor, incarnation: int) -> Signer:
    return signer_of(f"{actor}.{incarnation}")


class Audited:
    """The provider after its last epoch. `rosters`: all; the last is in force."""

    def __init__(self, signed_roster: Signed) -> None:
        self.rosters = [signed_roster]
        self.log = EMPTY_RANGE
        self.note = b""
        self.previous: dict[tuple[bytes, int], bytes] = {}
        self.histories: dict[bytes, History] = {}

    @property
    def roster(self) -> Roster:
        return ROSTER.decode(self.rosters[-1].body)

    def commit(self, lanes: Sequence[Sequence[Bundle]] = ((),), lie: Lie = TRUTH) -> Turn:
        """The next epoch, with these bundles in each lane of the roster."""
        desk = _Desk(self, lie)
        shown = [
            self._seal(desk, lane, inbox, bundles)
            for (lane, inbox), bundles in zip(self.roster.lanes, lanes, strict=True)
        ]
        routed = [self._route(desk, inbox, page) for (_, inbox), page in zip(self.roster.lanes, shown, strict=True)]
        sets = {one.lane: one.sets for one in shown}
        for outbox in desk.outboxes:
            self._deliver(desk, outbox, self._merge(desk, outbox, routed), sets)
        desk.sign(Actor(Role.SEQUENCER, 0, 0), EpochOpen, desk.roster_hash, NO_OVERRIDES, 0, EMPTY_ROOT, 0)
        record, note = self._append(desk, sum(len(one.messages) for one in shown))
        signed = desk.signed
        manifests, routes, merges, heads, (opened,) = (
            tuple(signed[a] for a in sorted(signed) if a[0] == role) for role in Role if role != Role.LOG
        )
        statements = EpochStatements(record, note.decode(), manifests, routes, merges, heads, opened)
        return Turn(statements, AuditPage(tuple(shown)))

    def _seal(self, desk: "_Desk", lane: int, name: bytes, bundles: Sequence[Bundle]) -> AuditLane:
        inbox = parse_actor(name)
        page = make_audit_lane(self.log.size, lane, bundles)
        page = page._replace(messages=tuple(desk.tell(inbox, list(page.messages))))
        leaves = [leaf_hash(MESSAGE_LEAF.encode(message.leaf)) for message in page.messages]
        desk.sign(inbox, Manifest, lane, len(leaves), tree_root(leaves), desk.before(inbox))
        return page

    def _route(self, desk: "_Desk", inbox: bytes, page: AuditLane) -> Routed:
        router = parse_actor(inbox)._replace(role=Role.ROUTER)
        content: Content = {}
        for message in page.messages:
            for mailbox in page.sets[message.set_index].device_ids:
                content.setdefault(mailbox, []).append(message)
        content = desk.tell(router, content)
        entries = []
        for outbox in desk.outboxes:
            items = _items(_kept_by(self.roster, outbox, content))
            entries.append(leaf_hash(ROUTE_ENTRY.encode(RouteEntry(outbox.encode(), len(items), tree_root(items)))))
        rest = (desk.hashes[inbox], len(desk.outboxes), tree_root(entries), desk.before(router))
        desk.sign(router, RouteSheet, desk.roster_hash, page.lane, *rest)
        return desk.hashes[router.encode()], content

    def _merge(self, desk: "_Desk", outbox: Actor, routed: Sequence[Routed]) -> Content:
        receiver = outbox._replace(role=Role.RECEIVER)
        merged: Content = {}
        for _, content in routed:
            for mailbox, messages in _kept_by(self.roster, outbox, content).items():
                merged.setdefault(mailbox, []).extend(messages)
        merged = desk.tell(receiver, merged)
        items = _items(merged)
        rest = (len(items), tree_root(items), desk.before(receiver))
        desk.sign(receiver, MergeSheet, desk.roster_hash, tuple(sheet for sheet, _ in routed), *rest)
        return merged

    def _deliver(self, desk: "_Desk", outbox: Actor, merged: Content, sets: dict[int, Any]) -> None:
        for mailbox, messages in desk.tell(outbox, merged).items():
            self._advance(mailbox, messages, sets)
        kept = {m: h for m, h in self.histories.items() if place_mailbox(self.roster, m) == outbox}
        states = [(map_key_of(m), hash_state(MAILBOX_STATE.encode(h.state)), h) for m, h in kept.items()]
        made = StateMap[History].empty().update(states)
        merge_hash = desk.hashes[outbox._replace(role=Role.RECEIVER).encode()]
        rest = (made.root_hash, made.count, desk.before(outbox), desk.roster_hash)
        desk.sign(outbox, EpochHead, merge_hash, *rest)

    def _advance(self, mailbox: bytes, messages: list[AuditMessage], sets: dict[int, Any]) -> None:
        epoch = self.log.size
        before = self.histories.get(mailbox) or new_history(mailbox, epoch)
        root = tree_root([leaf_hash(MESSAGE_LEAF.encode(message.leaf)) for message in messages])
        own = []
        for message in messages:
            ids = sets[int.from_bytes(message.leaf.seq[8:10], "big")][message.set_index].device_ids
            if message.ciphertexts and mailbox in ids:
                own.append((message.leaf.seq, message.ciphertexts[ids.index(mailbox)]))
        record = next_record(before, epoch, len(messages), root, own_ciphertexts_root(own))
        encoded = HISTORY_RECORD.encode(record)
        self.histories[mailbox] = apply_record(before, record, encoded, messages[-1].leaf.seq)

    def _append(self, desk: "_Desk", n_messages: int) -> tuple[bytes, bytes]:
        """The record and the checkpoint. The log's lie may also be of the `checkpoint`, of its fields."""
        leaves = [statement_leaf_hash(actor, desk.hashes[actor]) for actor in sorted(desk.hashes)]
        epoch = self.log.size
        made = EpochRecord(
            epoch,
            self.log.root(),
            1_000 + epoch,
            desk.roster_hash,
            NO_OVERRIDES,
            0,
            tree_root(leaves),
            len(leaves),
            bytes(32),
            epoch + 1,
            n_messages,
        )
        changes = dict(desk.lie.fields) if desk.lie.actor == "log-0-0" else {}
        checkpoint_changes = changes.pop("checkpoint", {})
        record = EPOCH_RECORD.encode(made._replace(**changes))
        self.log = self.log.append(leaf_hash(record))
        checkpoint = Checkpoint(LOG_NAME, self.log.size, self.log.root())._replace(**checkpoint_changes)
        self.note = sign_checkpoint(desk.signer(Actor(Role.LOG, 0, 0)), checkpoint)
        return record, self.note


class _Desk:
    """Where one epoch is signed. `hashes`: of what was signed, by actor."""

    def __init__(self, provider: Audited, lie: Lie) -> None:
        self.lie = lie
        self.roster_hash = hash_roster(provider.rosters[-1].body)
        self.signed: dict[bytes, Any] = {}
        self.hashes: dict[bytes, bytes] = {}
        self._provider = provider
        self._roster = provider.roster
        self.outboxes = [parse_actor(entry.actor) for entry in self._roster.actors if entry.actor[0] == Role.OUTBOX]

    def signer(self, actor: Actor) -> Signer:
        is_lie = self.lie.actor == str(actor)
        return (is_lie and self.lie.signer) or _key(actor, self._roster.entry(actor).incarnation)

    def tell(self, actor: Actor, content: Any) -> Any:
        return self.lie.content(content) if self.lie.actor == str(actor) else content

    def before(self, actor: Actor) -> bytes:
        return self._provider.previous.get((actor.encode(), self._roster.entry(actor).incarnation), bytes(32))

    def sign(self, actor: Actor, cls: Any, *fields: Any) -> None:
        slot = (actor.encode(), self._roster.entry(actor).incarnation)
        made = cls(ORIGIN, *slot, self._provider.log.size, *fields)
        codec, signed_cls = _CODECS[cls]
        body = codec.encode(made._replace(**self.lie.fields) if self.lie.actor == str(actor) else made)
        label, body_hash = STATEMENTS[actor.role]
        self.signed[actor.encode()] = signed_cls(*self.signer(actor).sign(label, ORIGIN, body))
        self.hashes[actor.encode()] = self._provider.previous[slot] = body_hash(body)


def _kept_by(roster: Roster, outbox: Actor, content: Content) -> Content:
    return {mailbox: content[mailbox] for mailbox in sorted(content) if place_mailbox(roster, mailbox) == outbox}


def _items(content: Content) -> list[bytes]:
    items = []
    for mailbox in sorted(content):
        leaves = [leaf_hash(MESSAGE_LEAF.encode(message.leaf)) for message in content[mailbox]]
        items.append(leaf_hash(SHEET_ITEM.encode(SheetItem(mailbox, len(leaves), tree_root(leaves)))))
    return items


def with_leaf(message: AuditMessage, **changes: Any) -> AuditMessage:
    """The message with another leaf."""
    leaf: MessageLeaf = message.leaf._replace(**changes)
    return message._replace(leaf=leaf)
