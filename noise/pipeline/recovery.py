"""Starts the pipeline from what is durable, and refuses when that is not what was signed.

Knows nothing of files or keys. Everything in memory is made again by the code that made it first: histories by
`apply_record`, senders by `SenderTable.sealed`. Then it must lead to the roots in the last signed heads and checkpoint.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from noise.pipeline.challenges import ChallengeBook, load_challenges
from noise.pipeline.epoch_log import EpochLog, load_epoch_log
from noise.pipeline.inheritance import check_inheritance, has_heirs
from noise.pipeline.outbox import parse_picks
from noise.pipeline.senders import SenderTable
from noise.pipeline.slots import signed_of
from noise.pipeline.stored import check_row, lane_of
from noise.pipeline.writeback import Writeback
from noise.protocol.checkpoint import log_name_of, verify_checkpoint
from noise.protocol.errors import NoiseError
from noise.protocol.history import (
    HISTORY_RECORD,
    MAILBOX_STATE,
    History,
    apply_record,
    hash_state,
    map_key_of,
    new_history,
)
from noise.protocol.identifiers import Actor, Role, parse_actor
from noise.protocol.merkle import leaf_hash, make_range, tree_root
from noise.protocol.placement import Rendezvous, actors_of
from noise.protocol.signing import SIGNED, Signed
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_RECORD,
    MANIFEST,
    STATEMENTS,
    EpochRecord,
    Roster,
    RosterInForce,
    check_successor,
    hash_roster,
    open_roster,
    statement_leaf_hash,
    verify_statement,
)
from noise.store.base import LANE_BITS, ManifestRow, Store, StoreCorrupt

_BUNDLES_PAGE = 64
_STATE_BYTES = MAILBOX_STATE.min_size


class SignedState(NamedTuple):
    """What the last epoch's signatures say. `previous`: hash of the last statement of each (actor, incarnation)."""

    roster: Roster
    record: EpochRecord
    previous: dict[tuple[bytes, int], bytes]
    heads: dict[int, tuple[bytes, int]]


class Recovered(NamedTuple):
    """All that a pipeline starts from. `states`, `writebacks` by outbox; `senders`, `next_ids` by inbox."""

    in_force: RosterInForce
    log: EpochLog
    last_time_ms: int
    previous: dict[tuple[bytes, int], bytes]
    states: list[StateMap[History]]
    writebacks: list[Writeback]
    senders: list[SenderTable]
    next_ids: list[int]
    challenges: ChallengeBook
    pending: list[ManifestRow]


async def load_rosters(store: Store, origin: bytes) -> list[Signed]:
    """All signed rosters, verified, from the first one on. Raises StoreCorrupt."""
    signed: list[Signed] = []
    try:
        for version, row in enumerate(await store.rosters(), 1):
            one = SIGNED.decode(row.body_and_signature)
            roster = open_roster(one, origin)
            if (row.version, roster.version) != (version, version):
                raise StoreCorrupt(f"version {version} is missing")
            if signed:
                check_successor(signed[-1], roster)
            signed.append(one)
    except NoiseError as error:
        raise StoreCorrupt(f"the rosters are not those that were signed ({error}): restore the newest copy") from None
    if not signed:
        raise StoreCorrupt("the state has no roster, and was not made by noise init: restore the newest copy")
    return signed


async def recover(store: Store, origin: bytes, rosters: Sequence[Signed]) -> Recovered:
    """Load everything, for the last roster. Raises StoreCorrupt when it does not lead to what was signed."""
    signed_roster = rosters[-1]
    roster = open_roster(signed_roster, origin)
    log = await load_epoch_log(store)
    last = await _signed_state(store, origin, rosters, log)
    histories, changed = await load_histories(store)
    if last is not None:
        states = _place_histories(last.roster, histories)
        _check_heads(last, states)
        if has_heirs(last.roster, roster):
            await check_inheritance(store, histories)
    elif histories:
        raise StoreCorrupt("mailboxes without an epoch: run noise fsck")
    if last is None or last.roster != roster:
        states = _place_histories(roster, histories)
    writebacks = _place_changes(roster, changed)
    senders = await load_senders(store, roster)
    pending = await store.pending_manifests()
    if any(manifest.epoch != log.size for manifest in pending):
        raise StoreCorrupt(f"a manifest lies beyond epoch {log.size}, which is next: restore the newest good copy")
    next_ids = await _next_ids(store, pending, roster)
    challenges = ChallengeBook(roster, log.size)
    await load_challenges(store, challenges)
    if last is not None and challenges.commitment != (last.record.challenges_root, last.record.challenges_count):
        raise StoreCorrupt("the challenges are not those of the last record: restore the newest good copy")
    return Recovered(
        RosterInForce(roster, hash_roster(signed_roster.body)),
        log,
        last.record.time_ms if last else 0,
        last.previous if last else {},
        states,
        writebacks,
        senders,
        next_ids,
        challenges,
        pending,
    )


async def _signed_state(store: Store, origin: bytes, rosters: Sequence[Signed], log: EpochLog) -> SignedState | None:
    """Verify the last epoch's checkpoint, record and statements."""
    if log.size == 0:
        return None
    epoch = log.size - 1
    row = await store.epoch_row(epoch)
    if row is None:
        raise StoreCorrupt(f"epoch {epoch} is missing: restore the newest state")
    try:
        record = EPOCH_RECORD.decode(row.record)
        roster = next(open_roster(r, origin) for r in rosters if hash_roster(r.body) == record.roster_hash)
        log_key = roster.entry(Actor(Role.LOG, 0, 0)).key
        checkpoint = verify_checkpoint(row.checkpoint, log_name_of(origin), log_key)
        if record.epoch != epoch or leaf_hash(row.record) != row.leaf_hash:
            raise StoreCorrupt("its record is not the log's leaf")
        if (checkpoint.size, checkpoint.root) != (log.size, log.range.root()) or log.root() != checkpoint.root:
            raise StoreCorrupt("the log does not lead to its checkpoint")
        rows = {statement.actor: statement for statement in await store.statements(epoch)}
        previous: dict[tuple[bytes, int], bytes] = {}
        heads: dict[int, tuple[bytes, int]] = {}
        for name in roster.signers():
            actor, statement = parse_actor(name), rows[name]
            label, hash_body = STATEMENTS[actor.role]
            verify_statement(signed_of(statement), label, roster, actor, statement.incarnation)
            previous[name, statement.incarnation] = hash_body(statement.body)
            if actor.role is Role.OUTBOX:
                head = EPOCH_HEAD.decode(statement.body)
                heads[actor.number] = (head.map_root, head.map_count)
        leaves = [statement_leaf_hash(name, body_hash) for (name, _), body_hash in previous.items()]
        if (tree_root(leaves), len(leaves)) != (record.statements_root, record.statements_count):
            raise StoreCorrupt("its statements are not those that its record commits to")
    except (NoiseError, StopIteration, KeyError) as error:
        raise StoreCorrupt(
            f"epoch {epoch} is not what was signed ({error}): nothing is signed from this state. "
            "Restore the newest good copy and run noise fsck"
        ) from None
    return SignedState(roster, record, previous, heads)


async def load_histories(store: Store) -> tuple[dict[bytes, History], list[tuple[bytes, int]]]:
    """(mailbox -> history, (mailbox, epoch) of each replayed change, in order)."""
    histories: dict[bytes, History] = {}
    after: bytes | None = None
    try:
        while page := await store.mailbox_cache(after):
            for mailbox, value in page:
                state = MAILBOX_STATE.decode(value[:_STATE_BYTES])
                peaks = [value[i : i + 32] for i in range(_STATE_BYTES, len(value), 32)]
                histories[mailbox] = History(state, make_range(state.hist_size, peaks))
                if histories[mailbox].records.root() != state.hist_root:
                    raise StoreCorrupt("a cached mailbox contradicts itself: restore the newest good copy")
            after = page[-1].key
        changed: list[tuple[bytes, int]] = []
        position: tuple[int, bytes] | None = None
        while rows := await store.history_since(store.replay_epoch, position):
            for row in rows:
                record = HISTORY_RECORD.decode(row.record)
                history = histories.get(row.mailbox) or new_history(row.mailbox, row.epoch)
                if record.k < history.state.hist_size:
                    continue
                if (record.k, record.prev_root) != (history.state.hist_size, history.state.hist_root):
                    raise StoreCorrupt(
                        f"a history record of epoch {row.epoch} does not continue its mailbox: run noise fsck"
                    )
                histories[row.mailbox] = apply_record(history, record, row.record, parse_picks(row)[0])
                changed.append((row.mailbox, row.epoch))
            position = (rows[-1].epoch, rows[-1].mailbox)
    except StoreCorrupt:
        raise
    except NoiseError as error:
        raise StoreCorrupt(f"a mailbox's state is damaged ({error}): restore the newest good copy") from None
    return histories, changed


def _place_changes(roster: Roster, changed: Sequence[tuple[bytes, int]]) -> list[Writeback]:
    """What each outbox of a roster has to write back: what was replayed."""
    outboxes = actors_of(roster, Role.OUTBOX)
    placement = Rendezvous(outboxes)
    writebacks = [Writeback() for _ in outboxes]
    for mailbox, epoch in changed:
        writebacks[placement.number(mailbox)].changed(mailbox, epoch)
    return writebacks


def _place_histories(roster: Roster, histories: dict[bytes, History]) -> list[StateMap[History]]:
    """The state map of each outbox of a roster."""
    outboxes = actors_of(roster, Role.OUTBOX)
    placement = Rendezvous(outboxes)
    items: list[list[tuple[bytes, bytes, History]]] = [[] for _ in outboxes]
    for mailbox, history in histories.items():
        value_hash = hash_state(MAILBOX_STATE.pack(*history.state))
        items[placement.number(mailbox)].append((map_key_of(mailbox), value_hash, history))
    return [StateMap[History].empty().update(one) for one in items]


def _check_heads(last: SignedState, states: Sequence[StateMap[History]]) -> None:
    for number, one in enumerate(states):
        if last.heads.get(number) != (one.root_hash, one.count):
            raise StoreCorrupt(
                f"the mailboxes of outbox {number} do not lead to the head that it signed: nothing is signed from "
                "this state. Restore the newest good copy and run noise fsck"
            )


async def load_senders(store: Store, roster: Roster) -> list[SenderTable]:
    """What each lane of a roster knows of its senders. Raises StoreCorrupt.

    Nothing signed says which counters are used up, but every manifest how many messages it has: none may be missing
    from a replay, or its counters would be taken a second time. The last epoch is replayed in any case, for new bundle
    ids go on from it.
    """
    inboxes = actors_of(roster, Role.INBOX)
    placement = Rendezvous(inboxes)
    tables = [SenderTable() for _ in inboxes]
    after: bytes | None = None
    while page := await store.sender_cache(after):
        for row in page:
            tables[placement.number(row.key)].load([row])
        after = page[-1].key
    first_epoch = min(store.replay_epoch, max(store.next_epoch - 1, 0))
    n_bundles: Counter[tuple[int, int]] = Counter()
    n_messages: Counter[tuple[int, int]] = Counter()
    position: tuple[int, int] | None = None
    last_place = (-1, -1, -1)
    while bundles := await store.bundles_since(first_epoch, position, _BUNDLES_PAGE):
        for bundle in bundles:
            check_row(bundle)
            place = (bundle.epoch, lane_of(bundle.bundle_id), bundle.bundle_id)
            if place <= last_place:
                raise StoreCorrupt(
                    "the lanes' bundles are not in order: restore the newest good copy and run noise fsck"
                )
            last_place = place
            n_bundles[place[:2]] += 1
            n_messages[place[:2]] += bundle.n_messages
            tables[placement.number(bundle.sender)].sealed(bundle)
        position = (bundles[-1].epoch, bundles[-1].bundle_id)
    for epoch in range(first_epoch, store.next_epoch + 1):
        for manifest in await store.manifests(epoch):
            _check_counts(manifest, n_bundles[epoch, manifest.lane], n_messages.pop((epoch, manifest.lane), 0))
    if n_messages:
        raise StoreCorrupt("bundles lie where no manifest has them: restore the newest good copy and run noise fsck")
    return tables


def _check_counts(manifest: ManifestRow, n_bundles: int, n_messages: int) -> None:
    try:
        signed = MANIFEST.decode(manifest.statement.body).n_messages
    except NoiseError:
        signed = -1
    next_id = manifest.first_id + (n_bundles << LANE_BITS)
    if (signed, manifest.next_id, manifest.lane) != (n_messages, next_id, lane_of(next_id)):
        raise StoreCorrupt(
            f"lane {manifest.lane} of epoch {manifest.epoch} has {n_bundles} bundles and {n_messages} messages: not "
            "what its manifest says. Restore the newest good copy and run noise fsck"
        )


async def _next_ids(store: Store, pending: Sequence[ManifestRow], roster: Roster) -> list[int]:
    """The first free bundle id of each inbox. Numbers go on from the highest of all lanes, also of lanes that ended."""
    manifests = list(pending)
    if store.next_epoch:
        manifests += await store.manifests(store.next_epoch - 1)
    number = max([manifest.next_id >> LANE_BITS for manifest in manifests], default=0)
    own = {manifest.lane: manifest.next_id for manifest in sorted(manifests, key=lambda m: m.epoch)}
    lanes = [roster.lane_of(inbox.encode()) for inbox in actors_of(roster, Role.INBOX)]
    return [max(own.get(lane, 0), number << LANE_BITS | lane) for lane in lanes]
