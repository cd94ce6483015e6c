"""What a proof that names no actor asks of custody, and what it shows itself.

Knows nothing of what is answered.
"""

from collections.abc import Sequence
from typing import Any

from noise.protocol.evidence.messages import AlteredMessage, Conflict, CounterViolation, Misdelivery, Omission
from noise.protocol.evidence.openings import CommittedLeaf, LeafOpening, RecipientOpening, SequencedLeaf
from noise.protocol.evidence.stage_views import Question, SequencedView, StageCustody
from noise.protocol.statements import MESSAGE_LEAF

NOBODY = bytes(5)
"""The actor of what is shown by others than a stage."""


def questions_in(finding: Any) -> tuple[Question, ...]:
    """Of a finding that is verified: the mailbox that lacks a message first, then those to which one was delivered."""
    messages = _messages_in(finding)
    asked = []
    if isinstance(finding, Omission):
        asked.append(Question(_seq_of(finding.message), finding.recipient.device_id))
    for message in messages:
        if message.delivered is not None:
            asked.append(Question(_seq_of(message), message.delivered.record.state.mailbox))
    return tuple(dict.fromkeys(asked))


def custody_in(finding: Any, answered: Sequence[StageCustody]) -> list[StageCustody]:
    """What the finding shows of the stages by itself, and together with what was `answered`.

    Who a message is for, either may show of what the other shows to be sequenced.
    """
    messages = _messages_in(finding)
    delivered = [one.delivered for one in messages if one.delivered is not None]
    shown = [StageCustody(NOBODY, delivered=one) for one in delivered]
    if isinstance(finding, Omission):
        shown.append(StageCustody(NOBODY, absent=finding.absence))
    recipients = _recipients_in(finding)
    views = [one.sequenced for one in answered if one.sequenced is not None]
    views += [SequencedView(one.sequenced, (), None) for one in messages if one.sequenced is not None]
    theirs = list(dict.fromkeys(view.recipients for view in views))
    sequenced = [view._replace(recipients=own) for view in views if view.message is not None for own in recipients]
    sequenced += [
        SequencedView(one.sequenced, own, None) for one in messages if one.sequenced is not None for own in theirs
    ]
    return [*shown, *[StageCustody(NOBODY, sequenced=view) for view in sequenced]]


def sequenced_in(finding: Any) -> list[SequencedLeaf]:
    """The messages of a finding as they were sequenced."""
    return [one.sequenced for one in _messages_in(finding) if one.sequenced is not None]


def _messages_in(finding: Any) -> list[CommittedLeaf]:
    if isinstance(finding, Conflict | CounterViolation):
        return [finding.one, finding.other]
    if isinstance(finding, Omission | AlteredMessage):
        return [finding.message]
    if isinstance(finding, Misdelivery):
        return [CommittedLeaf(None, finding.message)]
    return []


def _recipients_in(finding: Any) -> list[tuple[RecipientOpening, ...]]:
    if isinstance(finding, Omission):
        return [(finding.recipient,)]
    return [finding.recipients] if isinstance(finding, Misdelivery) else []


def _seq_of(message: CommittedLeaf) -> bytes:
    opening: LeafOpening | Any = message.delivered or message.sequenced
    return MESSAGE_LEAF.decode(opening.leaf).seq
