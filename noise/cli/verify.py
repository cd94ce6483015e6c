"""Verify a proof of misbehaviour: who is convicted of what, in which epoch.

Needs the file and the provider's origin (the 43 characters that noise init prints), from somebody whom you trust about
the name and about nothing else. No network, no state, no clock. Exit status 0: convicted. 1: well-formed, and proves
nothing. 2: not a proof file, or wrong usage.
"""

import argparse
import json
import sys
from pathlib import Path

from noise.protocol.errors import DecodeError
from noise.protocol.evidence.proof import PROOF_BYTES_MAX, verify_proof
from noise.protocol.evidence.verdict import PROVIDER, NotProven, Verdict
from noise.protocol.identifiers import format_id, parse_id

DEEDS = {
    "ManifestEquivocation": "signed two versions of what it had accepted",
    "StageEquivocation": "signed two versions of the state of its mailboxes",
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
}
"""Each class of evidence in a person's words."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the proof")
    parser.add_argument("--origin", type=_origin, required=True, help="the provider that it is about")
    parser.add_argument("--json", action="store_true", help="print one JSON object, always with the same members")


def run(arguments: argparse.Namespace) -> int:
    try:
        with arguments.file.open("rb") as file:
            data = file.read(PROOF_BYTES_MAX + 1)
        verdict = verify_proof(data, (arguments.origin,))
    except OSError as error:
        return _report(arguments, 2, "unreadable", str(error))
    except DecodeError as error:
        return _report(arguments, 2, "malformed", error.detail)
    except NotProven as error:
        return _report(arguments, 1, "not-proven", error.detail)
    return _report(arguments, 0, "convicted", verdict.detail, verdict)


def _origin(text: str) -> bytes:
    try:
        return parse_id(text)
    except DecodeError as error:
        raise argparse.ArgumentTypeError(error.detail) from None


def _report(
    arguments: argparse.Namespace, status: int, result: str, detail: str, verdict: Verdict | None = None
) -> int:
    """Say it as a person or a program wants to hear it, and return the exit status."""
    if arguments.json:
        shown = {
            "result": result,
            "kind": verdict.kind if verdict else None,
            "accused": verdict.accused if verdict else None,
            "origin": format_id(arguments.origin),
            "epoch": str(verdict.epoch) if verdict else None,
            "detail": detail,
        }
        print(json.dumps(shown))
    elif verdict is None:
        words = {"not-proven": "NOT PROVEN", "malformed": "MALFORMED", "unreadable": "UNREADABLE"}[result]
        print(f"{words}: {detail}", file=sys.stderr)
    else:
        by = "" if verdict.accused == PROVIDER else f" (its {verdict.accused})"
        print(f"CONVICTED: provider {format_id(verdict.origin)}{by} {DEEDS[verdict.kind]}.")
        print(f"{verdict.kind} in epoch {verdict.epoch}: {verdict.detail}.")
        print("Its own signatures say both. No honest provider signs that.")
    return status
