"""Makes the golden vectors of evidence: proofs of every class that must verify, and what must not.

A proof in `proofs` convicts, under the one `origin`, of what stands beside it. What is in `refused` convicts nobody:
`code` says whether it is `malformed` or `not-proven`. It is given as a change of the proof named `of`, in whose bytes
`cut` of them from byte `at` on become `put`; some are a framer's, of the true statements of an honest provider.
"""

from typing import Any

from noise.protocol.evidence.openings import CommittedLeaf
from noise.protocol.evidence.proof import PROOF, Finding, make_proof, verify_proof
from noise.protocol.identifiers import NO_EPOCH
from tests.protocol.evidence.convictions import CONVICTIONS, bob, conviction, omission, rosters_for, told_truly
from tests.protocol.evidence.exhibits import Exhibit, file_of, sequence
from tests.protocol.story import BOB, DAVE, LAST
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN
from tests.vectors.golden import readable, refusal_of, write

FAMILIES = {
    "equivocations": ("ManifestEquivocation", "StageEquivocation", "RosterEquivocation", "PosthumousStatement"),
    "logs": ("LogFork", "InvalidRecord"),
    "mailboxes": ("MailboxFork", "MailboxRollback", "Misdelivery"),
    "histories": ("HistoryViolation",),
    "messages": ("Conflict", "AlteredMessage", "CounterViolation"),
    "omissions": ("Omission",),
    "stages": ("StageOmission", "StageInsertion"),
    "challenges": ("UnansweredChallenge", "SuppressedChallenge", "Admission"),
}


def proof_of(name: str) -> bytes:
    return make_proof(ORIGIN, rosters_for(name), conviction(name))


def describe(name: str) -> dict[str, Any]:
    data = proof_of(name)
    verdict = verify_proof(data, [ORIGIN])
    return {
        "name": name,
        "encoded": data,
        "kind": verdict.kind,
        "accused": verdict.accused,
        "epoch": verdict.epoch,
        "is_suspicion": verdict.is_suspicion,
    }


def framed() -> list[tuple[str, Finding]]:
    """Well-formed, of honest statements or with one change, and no proof of anything."""
    good = conviction("Omission, in-delta")
    fork, manifests = conviction("LogFork, notes"), conviction("ManifestEquivocation")
    leaf = good.message.sequenced
    recipient, absence = good.recipient, good.absence
    return [
        ("the message arrived", omission(bob().idle())),
        ("the state is older than the message", omission(Exhibit(told_truly(), BOB, LAST - 1).idle())),
        ("the absence is from another mailbox", omission(Exhibit(told_truly(), DAVE).idle())),
        ("not the end of the delta", omission(bob().between(3, 1, None))),
        ("not neighbours", omission(bob().between(3, 0, 2))),
        ("a gap that ends with the message", omission(bob().gap(3))),
        ("an own delivery", omission(bob(told_truly().told[BOB].upto(3)).idle(), bob().delivered(3, 2))),
        ("the recipient at another place", good._replace(recipient=recipient._replace(place=1 - recipient.place))),
        ("the recipient with another salt", good._replace(recipient=recipient._replace(salt=bytes(16)))),
        (
            "the neighbour at another place",
            good._replace(absence=absence._replace(before=absence.before._replace(place=0))),
        ),
        ("a run at another place", good._replace(message=CommittedLeaf(leaf._replace(first_pos=1), None))),
        (
            "a manifest of the last epoch there is",
            good._replace(message=sequence(told_truly(), LAST, 2, epoch=NO_EPOCH)),
        ),
        ("one note twice", fork._replace(notes=fork.notes[:1] * 2)),
        ("one manifest twice", manifests._replace(other=manifests.one)),
        ("a signature for something else", manifests._replace(other=manifests.other._replace(signature=bytes(64)))),
    ]


def refused() -> list[tuple[str, bytes]]:
    cases = [(why, file_of(told_truly(), finding)) for why, finding in framed()]
    data = proof_of("Conflict")
    proof = PROOF.decode(data)
    return [
        *cases,
        ("another class, of the same structure", PROOF.encode(proof._replace(kind="CounterViolation"))),
        ("another origin", PROOF.encode(proof._replace(origin=OTHER_ORIGIN))),
        ("no rosters", PROOF.encode(proof._replace(rosters=()))),
        ("an unknown class", PROOF.encode(proof._replace(kind="Slander"))),
        ("a byte too few", data[:-1]),
        ("a byte too many", data + b"\0"),
        ("another record type", b"\0\x01" + data[2:]),
    ]


def splice(data: bytes) -> dict[str, Any]:
    """`data` as a change of the proof that is most like it: `cut` bytes of it, from byte `at` on, become `put`."""
    return min([{"of": name} | _difference(proof_of(name), data) for name in CONVICTIONS], key=lambda s: len(s["put"]))


def _difference(before: bytes, after: bytes) -> dict[str, Any]:
    shortest = min(len(before), len(after))
    at = next((i for i in range(shortest) if before[i] != after[i]), shortest)
    most = shortest - at
    tail = next((i for i in range(most) if before[-1 - i] != after[-1 - i]), most)
    return {"at": at, "cut": len(before) - at - tail, "put": after[at : len(after) - tail]}


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    files: dict[str, Any] = {
        f"evidence_{family}.json": {
            "origin": ORIGIN,
            "proofs": [describe(name) for name in CONVICTIONS if name.split(",")[0] in kinds],
        }
        for family, kinds in FAMILIES.items()
    }
    cases = [splice(data) | {"why": why, "code": refusal_of(verify_proof, data, [ORIGIN])} for why, data in refused()]
    files["evidence_refused.json"] = {"origin": ORIGIN, "refused": cases}
    return {name: readable(content) for name, content in files.items()}


if __name__ == "__main__":
    write(vectors())
