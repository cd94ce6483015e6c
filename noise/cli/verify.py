"""Verify a proof of misbehaviour: who is convicted of what, in which epoch.

Needs the file and the provider's origin (the 43 characters that noise init prints), from somebody whom you trust about
the name and about nothing else. No network, no state, no clock. Exit status 0: convicted. 1: well-formed, and proves
nothing. 2: not a proof file, or wrong usage. 3: an actor owes an answer, which is a suspicion and no lie.
"""

import argparse
import json
import sys
from pathlib import Path

from noise.cli.options import parse_id_option
from noise.cli.verdict_text import describe_verdict
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.proof import PROOF_BYTES_MAX, verify_proof
from noise.protocol.evidence.verdict import NotProven, Verdict
from noise.protocol.identifiers import format_id


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the proof")
    parser.add_argument("--origin", type=parse_id_option, required=True, help="the provider that it is about")
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
    if verdict.is_suspicion:
        return _report(arguments, 3, "unresponsive", verdict.detail, verdict)
    return _report(arguments, 0, "convicted", verdict.detail, verdict)


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
        print("\n".join(describe_verdict(verdict)))
    return status
