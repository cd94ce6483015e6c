"""A verdict in a person's words: who did what, and the message's way through the stages, the lie marked.

Knows nothing of files, servers or how a verdict came about.
"""

from itertools import groupby

from noise.protocol.evidence.verdict import PROVIDER, Step, Verdict
from noise.protocol.identifiers import format_id, parse_seq

DEEDS = {
    "ManifestEquivocation": "signed two versions of what it had accepted",
    "StageEquivocation": "signed two versions of what it had passed on",
    "StageOmission": "was given a message and did not pass it on as it was",
    "StageInsertion": "passed on a message that it was not given",
    "Omission": "withheld a message from one of its recipients",
    "Conflict": "showed two different messages as the same one",
    "AlteredMessage": "passed a message on that is not what its sender made",
    "CounterViolation": "reordered or repeated a sender's messages",
    "Misdelivery": "delivered a message to somebody to whom it was not addressed",
    "MailboxFork": "told two histories of one mailbox",
    "MailboxRollback": "took back what it had said of a mailbox",
    "HistoryViolation": "told a history of a mailbox that contradicts itself",
    "LogFork": "kept two different logs",
    "InvalidRecord": "committed to an epoch that breaks the rules",
    "RosterEquivocation": "named its actors in two ways, or after the fact",
    "PosthumousStatement": "signed with a key that it had given up",
    "SuppressedChallenge": "promised to log a challenge and did not",
    "UnansweredChallenge": "was asked for its part, and did not answer in time",
    "Admission": "accepts the blame for it",
}
"""Each class of evidence in a person's words."""

_MARK = "  <== the lie"


def describe_verdict(verdict: Verdict) -> list[str]:
    """Lines for a terminal."""
    by = "" if verdict.accused == PROVIDER else f" (its {verdict.accused})"
    who = f"provider {format_id(verdict.origin)}{by}"
    drawing = draw_way(verdict.way)
    if verdict.is_suspicion:
        return [
            f"UNRESPONSIVE: {who} {DEEDS[verdict.kind]}.",
            f"{verdict.kind} about epoch {verdict.epoch}: {verdict.detail}.",
            *drawing,
            "This is a suspicion. Silence proves no lie.",
        ]
    return [
        f"CONVICTED: {who} {DEEDS[verdict.kind]}.",
        f"{verdict.kind} in epoch {verdict.epoch}: {verdict.detail}.",
        *drawing,
        "Its own signatures say both. Nobody honest signs that.",
    ]


def draw_way(way: tuple[Step, ...]) -> list[str]:
    """The stages from top to bottom, once for each mailbox in which the message matters."""
    lines: list[str] = []
    width = max((len(step.actor) for step in way), default=0)
    for (seq, mailbox), steps in groupby(way, key=lambda step: (step.seq, step.mailbox)):
        lines += ["", "  message {}/{}/{}".format(*parse_seq(seq)) + f" for {format_id(mailbox)}"]
        for number, step in enumerate(steps):
            lines += ["      |"] if number else []
            lines.append(f"    {step.actor:{width}}  {step.does}{_MARK if step.is_lie else ''}")
    return [*lines, ""] if lines else []
