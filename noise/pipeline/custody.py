"""What an actor answers when it is asked what became of a message for a mailbox, from its own custody rows alone.

Knows nothing of who asks or why, and blames nobody. An answer is what the actor was given and what it made of it, each
opened under its signature; what does not verify never leaves. Rows that were pruned or lost make no answer.

One answer reads the bundles of one epoch: an inbox and a router those of one lane, a receiver and an outbox those of
which their mailboxes got anything. An epoch has 8 MiB of them: a second of a worker thread at most. An outbox also
reads every record of the mailbox, some 250 bytes each. Answers are made one at a time: whoever asks for many waits.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import trio

from noise.pipeline.batches import CommittedEpoch
from noise.pipeline.epoch_log import EpochLog
from noise.pipeline.kept import OUTBOX_BATCH, RECEIVER_BATCH, ROUTER_BATCH, KeptLane, KeptPart, parse_batch
from noise.pipeline.kept_messages import content_of, entry_of, load_messages, open_messages
from noise.pipeline.lanes import read_lane
from noise.pipeline.outbox import check_record, parse_picks
from noise.pipeline.past_states import PastStates, Snapshot, take_snapshot
from noise.pipeline.slots import signed_of
from noise.protocol.delta import OtherLeaf, SignedHead, SignedRoster
from noise.protocol.envelope import Recipients, RecipientSet
from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.evidence.material import Attested, EvidenceUnavailable
from noise.protocol.evidence.openings import HeadOpening, LogOpening, StateOpening
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.stage_views import (
    CustodyAnswer,
    MergeView,
    Question,
    RouteView,
    SequencedView,
    StageCustody,
    make_merge_view,
    make_route_view,
    make_sequenced_view,
    make_sheet_view,
    open_merge_view,
    open_sequenced_view,
)
from noise.protocol.evidence.stages import open_pair
from noise.protocol.evidence.testimony import Testimony, testify_from
from noise.protocol.history import MAILBOX_STATE, MailboxState
from noise.protocol.identifiers import Actor, Role, parse_seq
from noise.protocol.log_pages import SignedRoute
from noise.protocol.merkle import Tree, inclusion_proof, leaf_hash
from noise.protocol.placement import actors_of, place_mailbox
from noise.protocol.signing import Signed
from noise.protocol.stages import receiver_of, router_of, way_of
from noise.protocol.statements import EPOCH_RECORD, ROSTER, Roster, hash_manifest, hash_roster
from noise.store.base import Store, StoreCorrupt
from noise.store.custody import Custody, CustodyRow

_RECORDS_READ = 1024


class Case(NamedTuple):
    """A question to one actor, with the row that it kept and the roster under which it signed that."""

    question: Question
    roster: Roster
    roster_hash: bytes
    actor: Actor
    row: CustodyRow

    @property
    def epoch(self) -> int:
        return self.row.statement.epoch

    def damaged(self, what: str) -> StoreCorrupt:
        return StoreCorrupt(f"{self.actor} cannot answer for epoch {self.epoch}: {what}: run noise fsck")


class CustodyDesk:
    """`rosters`: all, in order. `log`: of all committed epochs. `view`: the newest of them, if there is one."""

    def __init__(
        self,
        store: Store,
        custody: Custody,
        rosters: Sequence[SignedRoster],
        log: EpochLog,
        view: Callable[[], CommittedEpoch | None],
    ) -> None:
        self._store = store
        self._custody = custody
        self._signed = {hash_roster(signed.body): signed for signed in rosters}
        self._rosters = {roster_hash: ROSTER.decode(signed.body) for roster_hash, signed in self._signed.items()}
        self._log = log
        self._view = view
        self._past = PastStates(store)
        self._turn = trio.Lock()

    async def answer(self, actor: Actor, question: Question) -> CustodyAnswer | None:
        """None: it has nothing to say, for it was not on the way, or its row is pruned, lost or not yet written.

        Raises DecodeError for a seq that is none; StoreCorrupt or StoreFailed when the disk does not give the truth.
        """
        epoch, view = parse_seq(question.seq)[0], self._view()
        if view is None or view.epoch < epoch:
            return None
        roster_hash = await self._roster_hash(epoch)
        roster = self._rosters[roster_hash]
        if actor not in way_of(roster, *question):
            return None
        async with self._turn:
            row = await self._custody.find(actor.encode(), roster.entry(actor).incarnation, epoch)
            if row is None:
                return None
            case = Case(question, roster, roster_hash, actor, row)
            stage, other_hash = await self._show(case, view)
            signed = [self._signed[one] for one in dict.fromkeys((roster_hash, other_hash))]
            await trio.to_thread.run_sync(partial(check_stage, case, stage, signed))
        return CustodyAnswer(tuple(signed), question, (stage,))

    async def _roster_hash(self, epoch: int) -> bytes:
        """Of the roster that was in force in a committed epoch."""
        row = await self._store.epoch_row(epoch)
        with suppress(DecodeError):
            if row is not None and (found := EPOCH_RECORD.decode(row.record).roster_hash) in self._rosters:
                return found
        raise StoreCorrupt(f"the record of epoch {epoch} is damaged: run noise fsck")

    async def _show(self, case: Case, view: CommittedEpoch) -> tuple[StageCustody, bytes]:
        """(what the actor shows, hash of the roster by which the latest of it verifies)."""
        name, statement = case.actor.encode(), case.row.statement
        match case.actor.role:
            case Role.INBOX:
                return StageCustody(name, await self._sequenced(case)), case.roster_hash
            case Role.ROUTER:
                return StageCustody(name, await self._sequenced(case), await self._routed(case)), case.roster_hash
            case Role.RECEIVER:
                return StageCustody(name, None, *await self._received(case)), case.roster_hash
        merged = await self._given_to_outbox(case)
        testimony, other_hash = await self._testimony(case, view)
        head = SignedHead(statement.body, statement.signature)
        return StageCustody(name, None, None, merged, head, testimony.delivered, testimony.absent), other_hash

    async def _sequenced(self, case: Case) -> SequencedView:
        """What the inbox of the seq's lane signed."""
        _, lane, pos = parse_seq(case.question.seq)
        found = [one for one in await self._store.manifests(case.epoch) if one.lane == lane]
        if not found:
            raise case.damaged("the manifest is missing")
        rows = (await read_lane(self._store, found[0])).rows

        def make() -> SequencedView:
            opened = [open_messages(row) for row in rows]
            leaves = [leaf for messages in opened for leaf in messages.leaves]
            lists = [recipients for messages in opened for recipients in messages.recipients]
            recipients = lists[pos] if pos < len(lists) else None
            return make_sequenced_view(
                signed_of(found[0].statement), case.roster_hash, leaves, recipients, case.question
            )

        return await trio.to_thread.run_sync(make)

    async def _routed(self, case: Case) -> RouteView:
        """What a router made of its lane."""
        batch = parse_batch(ROUTER_BATCH, case.row.batch)
        messages = await load_messages(self._store, [part for parts in batch for part in parts])
        outboxes, outbox = actors_of(case.roster, Role.OUTBOX), place_mailbox(case.roster, case.question.mailbox)
        if len(batch) != len(outboxes):
            raise case.damaged("its batch is not for every outbox")

        def make() -> RouteView:
            contents = [content_of(parts, messages) for parts in batch]
            entries = [entry_of(one, content) for one, content in zip(outboxes, contents, strict=True)]
            sheet = signed_of(case.row.statement)
            return make_route_view(sheet, entries, outbox, contents[outbox.number], case.question)

        return await trio.to_thread.run_sync(make)

    async def _received(self, case: Case) -> tuple[RouteView | None, MergeView]:
        """What a receiver was given of the seq's lane (None: there is no such lane), and what it made of all lanes."""
        batch, lanes = parse_batch(RECEIVER_BATCH, case.row.batch), case.roster.lanes
        if len(batch) != len(lanes):
            raise case.damaged("its batch is not of every lane")
        parts = [part for kept in batch for part in kept.parts]
        messages = await load_messages(self._store, parts)
        wanted = parse_seq(case.question.seq)[1]
        outbox = place_mailbox(case.roster, case.question.mailbox)

        def merge() -> MergeView:
            return make_merge_view(signed_of(case.row.statement), content_of(parts, messages), case.question)

        def route(sheet: Signed, kept: KeptLane) -> RouteView:
            content = content_of(kept.parts, messages)
            view = make_sheet_view(content, case.question)
            return RouteView(SignedRoute(*sheet), entry_of(outbox, content), kept.entry_proof, view)

        routed = None
        for lane, kept in zip(lanes, batch, strict=True):
            if lane.lane == wanted:
                sheet = await self._statement(case, router_of(lane.inbox))
                routed = await trio.to_thread.run_sync(route, sheet, kept)
        return routed, await trio.to_thread.run_sync(merge)

    async def _given_to_outbox(self, case: Case) -> MergeView:
        parts = parse_batch(OUTBOX_BATCH, case.row.batch)
        messages = await load_messages(self._store, parts)
        sheet = await self._statement(case, receiver_of(case.actor))
        return await trio.to_thread.run_sync(lambda: make_merge_view(sheet, content_of(parts, messages), case.question))

    async def _statement(self, case: Case, actor: Actor) -> Signed:
        """What the actor before signed for the epoch. Whether this one was made from it, `check_stage` sees."""
        name = (actor.encode(), case.roster.entry(actor).incarnation)
        for row in await self._store.statements(case.epoch):
            if (row.actor, row.incarnation) == name:
                return signed_of(row)
        raise case.damaged(f"the statement of {actor} is missing")

    async def _testimony(self, case: Case, view: CommittedEpoch) -> tuple[Testimony, bytes]:
        """(what the mailbox's history has at the seq, under a head of this very outbox; hash of that head's roster)."""
        question, snapshot = case.question, await self._snapshot(case, view)
        place = EPOCH_RECORD.decode(snapshot.shared.record).epoch
        await self._log.prepare(self._store, place)
        log_proof = tuple(inclusion_proof(self._log.node, place, place + 1))
        log = LogOpening(snapshot.shared.note, place, snapshot.shared.record, log_proof)
        state, proof = snapshot.state, snapshot.proof
        opening = StateOpening(
            HeadOpening(log, snapshot.shared.head, snapshot.shared.head_proof),
            question.mailbox,
            b"" if state is None else MAILBOX_STATE.encode(state),
            proof.siblings,
            None if proof.other is None else OtherLeaf(*proof.other),
        )
        known = Attested((), opening, state, 0, (), Tree([]).node, lambda _: (), lambda _: None)
        if state is not None and state.last_epoch >= case.epoch:
            known = await self._with_record(case, state, known)
        try:
            testimony = testify_from(known, question.seq, question.mailbox)
        except EvidenceUnavailable as error:
            raise case.damaged(error.detail) from None
        return testimony, EPOCH_RECORD.decode(snapshot.shared.record).roster_hash

    async def _snapshot(self, case: Case, view: CommittedEpoch) -> Snapshot:
        """Of the newest epoch that this outbox signed as the one that it was, with the mailbox in its care."""
        mailbox, outbox = case.question.mailbox, case.actor
        key = case.roster.entry(outbox)
        for roster in list(self._rosters.values())[case.roster.version :]:
            if roster.valid_from_epoch > view.epoch:
                break
            if place_mailbox(roster, mailbox) != outbox or roster.entry(outbox) != key:
                last_epoch = roster.valid_from_epoch - 1
                in_force = self._rosters[await self._roster_hash(last_epoch)]
                return await self._past.take_snapshot(last_epoch, in_force, outbox, mailbox, view)
        return take_snapshot(view.outboxes[outbox.number], mailbox)

    async def _with_record(self, case: Case, state: MailboxState, known: Attested) -> Attested:
        """With the first record of the seq's epoch or later, and its messages if it is of that epoch."""
        mailbox = case.question.mailbox
        epochs = await self._store.history_epochs(mailbox, state.last_epoch, -1)
        if len(epochs) != state.hist_size:
            raise case.damaged("records of the mailbox are missing")
        hashes: list[bytes] = []
        for first in range(0, len(epochs), _RECORDS_READ):
            for row in await self._store.history_rows(mailbox, epochs[first : first + _RECORDS_READ]):
                check_record(row)
                hashes.append(leaf_hash(row.record))
        index = bisect_left(epochs, case.epoch)
        [row] = await self._store.history_rows(mailbox, [epochs[index]])
        known = known._replace(first_index=index, records=[row.record], nodes=Tree(hashes).node)
        if row.epoch > case.epoch:
            return known
        parts = [KeptPart(pick.bundle_id, pick.indexes, (mailbox,)) for pick in parse_picks(row)[1]]
        messages = await load_messages(self._store, parts)
        leaves = content_of(parts, messages)[mailbox]
        lists: dict[bytes, Recipients] = {one.root: one for each in messages.values() for one in each.recipients}

        def recipients_of(root: bytes) -> RecipientSet | None:
            found = lists.get(root)
            return None if found is None else RecipientSet(found.env_salt, found.device_ids)

        return known._replace(leaves_of=lambda _: leaves, recipients_of=recipients_of)


def check_stage(case: Case, stage: StageCustody, signed: Sequence[SignedRoster]) -> None:
    """What an actor shows verifies, and is of its own making. Raises StoreCorrupt: an honest one shows nothing else."""
    try:
        rosters = Rosters(case.roster.origin, signed)
        if stage.merged is not None and (stage.routed, stage.head) == (None, None):
            open_merge_view(rosters, stage.merged, case.question)
        elif stage.sequenced is None or stage.routed is not None:
            open_pair(rosters, case.question, stage)
        elif open_sequenced_view(rosters, stage.sequenced, case.question).manifest_hash != hash_manifest(
            case.row.statement.body
        ):
            raise case.damaged("the stored manifest is another one")
    except NoiseError as error:
        raise case.damaged(error.detail) from None
