"""What an outbox takes over from another one: histories that were built by the rules, or it signs nothing over them.

Knows nothing of who kept them, nor whether their messages are those that arrived. An outbox signs with each head all
that its mailboxes ever got. A record of an epoch to come, say, would be its own lie as soon as that epoch is over.
"""

from collections.abc import Mapping

from noise.pipeline.outbox import parse_picks
from noise.protocol.errors import NoiseError
from noise.protocol.history import HISTORY_RECORD, History, apply_record, new_history, next_record
from noise.protocol.identifiers import Role, parse_seq
from noise.protocol.statements import Roster
from noise.store.base import HistoryRow, Store, StoreCorrupt


def has_heirs(last: Roster, roster: Roster) -> bool:
    """Whether `roster`, which follows `last`, has other outboxes: then they take over what those before them kept."""
    outboxes = [{(e.actor, e.incarnation) for e in one.actors if e.actor[0] == Role.OUTBOX} for one in (last, roster)]
    return outboxes[0] != outboxes[1]


async def check_inheritance(store: Store, histories: Mapping[bytes, History]) -> None:
    """The stored records lead to `histories` by the rules, and to no others. Raises StoreCorrupt.

    `histories`: by mailbox, as of the last committed epoch.
    """
    built: dict[bytes, History] = {}
    position: tuple[int, bytes] | None = None
    try:
        while rows := await store.history_since(0, position):
            for row in rows:
                built[row.mailbox] = _continued(built.get(row.mailbox), row, store.next_epoch)
            position = (rows[-1].epoch, rows[-1].mailbox)
        if built != histories:
            raise StoreCorrupt("the states of mailboxes are not those that their records lead to")
    except NoiseError as error:
        raise StoreCorrupt(
            f"no outbox takes these mailboxes over, for it would answer for them ({error.detail}). Restore the newest "
            "good copy and run noise fsck. If there is none, the outboxes can only go on as they are: with the same "
            "number and the same keys"
        ) from None


def _continued(before: History | None, row: HistoryRow, next_epoch: int) -> History:
    """The history with one row more. Raises NoiseError if it breaks a rule."""
    record = HISTORY_RECORD.decode(row.record)
    last_seq, _ = parse_picks(row)
    is_late = before is not None and row.epoch <= before.state.last_epoch
    history = before or new_history(row.mailbox, row.epoch)
    own = (record.own_ciphertexts_count, record.own_ciphertexts_root)
    rightful = next_record(history, row.epoch, record.n_messages, record.delta_root, own)
    is_of_epoch = row.epoch < next_epoch and parse_seq(last_seq)[0] == row.epoch
    if record != rightful or is_late or not is_of_epoch or not record.n_messages:
        raise StoreCorrupt(f"the record of epoch {row.epoch} does not continue its mailbox")
    return apply_record(history, record, row.record, last_seq)
