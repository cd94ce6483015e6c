"""The zoo: every lying provider by name, with what is known of it beforehand.

Knows nothing of how lies are made or run. Whoever adds a lie adds it here; tests, tables and the command line follow.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from noise.demo.zoo.face_lies import (
    Stale,
    Transport,
    TransportCiphertext,
    spoil_ciphertext,
    spoil_payload,
    spoil_recipients,
    spoil_sender,
)
from noise.demo.zoo.forgery import change_ciphertext, change_payload, change_recipients
from noise.demo.zoo.inbox_lies import OtherManifest
from noise.demo.zoo.lie import MIDDLE, Attitude, Facts, Lie, NoticedBy
from noise.demo.zoo.log_lies import Fork, Resign, Rollback
from noise.demo.zoo.mailbox_lies import (
    EMPTY_EPOCHS,
    ChangeCiphertext,
    ChangeContent,
    ChangeSender,
    Drop,
    Duplicate,
    EmptyRange,
    Insert,
    Misroute,
    Replay,
    RestartMailbox,
    Swap,
    all_but_the_sender,
    everybody,
    the_victim,
)
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Role

VICTIM, SENDER, PAIR = NoticedBy.VICTIM, NoticedBy.SENDER, NoticedBy.PAIR
CONFLICT = ("Conflict",)
COUNTERS = ("CounterViolation",)
UNSIGNED = ("suspected",)  # the signed statements are true: whoever shows the bytes to others proves nothing

_ZOO: list[tuple[Callable[..., Lie], Facts]] = [
    (
        partial(Drop, losers=the_victim),
        Facts("drop-one", "one recipient never gets a message that the others get", ("Omission",), "provider", PAIR),
    ),
    (
        partial(Drop, losers=all_but_the_sender),
        Facts(
            "drop-all-but-sender",
            "the sender sees its message in the order of things, and nobody else gets it",
            *(("Omission",), "provider", PAIR),
        ),
    ),
    (
        partial(Drop, losers=everybody),
        Facts(
            "drop-all",
            "a receipt that is not honoured: the manifest has the message, and nobody gets it",
            *(("Omission",), "provider", SENDER),
        ),
    ),
    (
        OtherManifest,
        Facts(
            "other-manifest",
            "a receipt that is not honoured: it is of a manifest that does not count, and nobody gets the message",
            *(("Omission", "ManifestEquivocation"), "provider", SENDER, None, (Role.INBOX,)),
        ),
    ),
    (
        EmptyRange,
        Facts(
            "empty-range",
            f"a mailbox stays empty for {EMPTY_EPOCHS} epochs in which messages came for it",
            *(("Omission",), "provider", PAIR),
        ),
    ),
    (
        Misroute,
        Facts(
            "misroute",
            "one recipient's message goes to an outbox that does not keep its mailbox",
            *(("Omission",), "provider", PAIR, None, (Role.ROUTER,), "StageOmission", 2),
        ),
    ),
    (
        partial(ChangeContent, change=change_payload),
        Facts(
            "change-payload",
            "one recipient gets other bytes, and its signed history says so too",
            *(CONFLICT, "provider", PAIR, "bad-signature"),
        ),
    ),
    (
        partial(ChangeContent, change=change_recipients),
        Facts(
            "change-recipients",
            "one recipient gets another list of recipients, and its signed history says so too",
            *(CONFLICT, "provider", PAIR, "bad-signature"),
        ),
    ),
    (
        ChangeSender,
        Facts(
            "change-sender",
            "one recipient gets the message from another device, which really signed it: one of the provider's own",
            *(CONFLICT, "provider", PAIR),
        ),
    ),
    (
        partial(ChangeCiphertext, change=change_ciphertext),
        Facts(
            "change-ciphertext",
            "one recipient gets another ciphertext of its own, and its signed history says so too",
            *(CONFLICT, "provider", PAIR, "bad-signature"),
        ),
    ),
    (
        partial(Transport, spoil=spoil_payload),
        Facts(
            "garble-payload",
            "one recipient gets other bytes than those that its signed history has",
            *(UNSIGNED, "provider", VICTIM, "bad-signature", ()),
        ),
    ),
    (
        partial(Transport, spoil=spoil_recipients),
        Facts(
            "garble-recipients",
            "one recipient gets another list of recipients than the one that its signed history has",
            *(UNSIGNED, "provider", VICTIM, "bad-signature", ()),
        ),
    ),
    (
        partial(Transport, spoil=spoil_sender),
        Facts(
            "garble-sender",
            "one recipient gets another sender's key than the one that its signed history has",
            *(UNSIGNED, "provider", VICTIM, "sender-not-recipient", ()),
        ),
    ),
    (
        partial(TransportCiphertext, spoil=spoil_ciphertext),
        Facts(
            "garble-ciphertext",
            "one recipient gets another ciphertext of its own than the one that its signed history has",
            *(UNSIGNED, "provider", VICTIM, "bad-signature", ()),
        ),
    ),
    (
        partial(Swap, with_seqs=False),
        Facts(
            "swap-order",
            "one client gets two messages in the wrong order, each at its position",
            *(("HistoryViolation",), "provider", VICTIM, "bad-order", (Role.OUTBOX,), ""),
        ),
    ),
    (
        partial(Swap, with_seqs=True),
        Facts(
            "swap-seqs",
            "one client gets two messages of two senders in the wrong order, each at the position of the other",
            *((*CONFLICT, "CounterViolation"), "provider", PAIR, None, MIDDLE, "StageOmission", 1, True),
        ),
    ),
    (
        Insert,
        Facts(
            "insert",
            "one client gets a message to all that no other recipient gets, and that was never sequenced",
            *(("Omission",), "provider", PAIR, None, MIDDLE, "StageInsertion"),
        ),
    ),
    (
        Duplicate,
        Facts(
            "duplicate",
            "one client gets a message twice in one epoch",
            *(COUNTERS, "provider", VICTIM, "counter-reused", (*MIDDLE, Role.INBOX), "StageInsertion"),
        ),
    ),
    (
        Replay,
        Facts(
            "replay",
            "one client gets an old message again, in a later epoch",
            *(COUNTERS, "provider", VICTIM, "counter-reused", (*MIDDLE, Role.INBOX), "StageInsertion"),
        ),
    ),
    (
        RestartMailbox,
        Facts(
            "restart-mailbox",
            "a mailbox's history begins anew: what it had before never was",
            *(("MailboxRollback", "MailboxFork"), "outbox", VICTIM, "wrong-state", (Role.OUTBOX,), "MailboxRollback"),
        ),
    ),
    (
        Fork,
        Facts(
            "fork",
            "two groups of clients, at two ports, are shown two logs that were one until serving began",
            *(("LogFork",), "log", PAIR, None, (Role.LOG,)),
        ),
    ),
    (
        Rollback,
        Facts(
            "rollback",
            "a restored backup: what came after it is gone, and other epochs stand in its place",
            *(("LogFork", "InvalidRecord", "MailboxRollback"), "log", VICTIM, "log-fork", (Role.LOG,)),
        ),
    ),
    (
        Resign,
        Facts(
            "resign",
            "one client is shown an epoch that it has verified a second time, with another content",
            *(("LogFork", "StageEquivocation"), "log", VICTIM, "log-fork", (Role.LOG,)),
        ),
    ),
    (
        partial(Stale, with_heartbeats=True),
        Facts(
            "stale",
            "one client is told for ever that nothing has come, with the signatures of an old epoch",
            *(("stale",), "provider", VICTIM, None, ()),
        ),
    ),
    (
        partial(Stale, with_heartbeats=False),
        Facts(
            "silent",
            "one client is told nothing more on a connection that stays open",
            *(("stale",), "provider", VICTIM, None, ()),
        ),
    ),
]

FACTS: dict[str, Facts] = {facts.name: facts for _, facts in _ZOO}
_MAKERS: dict[str, Any] = {facts.name: make for make, facts in _ZOO}


def make_lie(name: str, *by: Role, attitude: Attitude = Attitude.OPEN) -> Lie:
    """A fresh one, not armed. `by`: whose actors tell it, the usual ones if none are named. `attitude`: of these.

    Raises KeyError for a name that is not in FACTS, and NoiseError for a stage that cannot tell it.
    """
    lie: Lie = _MAKERS[name](FACTS[name])
    lie.attitude = attitude
    if by:
        if not set(by) <= set(lie.facts.stages):
            can = ", ".join(role.name.lower() for role in lie.facts.stages) or "nobody in particular"
            raise NoiseError(f"{name} is told by {can}", code="no-such-liar")
        lie.by = by
    return lie
