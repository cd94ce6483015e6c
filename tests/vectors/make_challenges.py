"""Makes the golden vectors of challenges: what is asked, its state while it is open and answered, and the map of all.

`maps`: the map after each epoch in which something changed, with a path for each key that it holds, and one for a key
that it lacks.
"""

from typing import Any

from noise.protocol.challenges import (
    ADMISSION_BODY,
    CHALLENGE,
    CHALLENGE_RECEIPT,
    CHALLENGE_STATE,
    NO_ANSWER,
    NO_CHALLENGES,
    AdmissionBody,
    Challenge,
    ChallengeReceipt,
    ChallengeState,
    hash_challenge,
    hash_complaint,
)
from noise.protocol.encoding import StructCodec
from noise.protocol.identifiers import NO_EPOCH, Actor, Role, make_seq
from noise.protocol.signing import SIGNED
from noise.protocol.state_map import StateMap
from tests.vectors.cast import LOG, ORIGIN, actor_key, device_of, filler
from tests.vectors.golden import readable, refusal_of, write

ANSWER = filler("an answer", 100)
PROOF = filler("a proof", 100)
CHALLENGES = [
    Challenge(ORIGIN, Actor(role, 0, number).encode(), incarnation, epoch, make_seq(epoch, 3, 5), device_of(name))
    for role, number, incarnation, epoch, name in (
        (Role.ROUTER, 1, 0, 4, "bob"),
        (Role.RECEIVER, 0, 2, 4, "bob"),
        (Role.OUTBOX, 0, 0, 6, "carol"),
    )
]
OPEN = ChallengeState(7, 107, NO_EPOCH, NO_ANSWER)
ANSWERED = ChallengeState(7, 107, 9, hash_challenge(ANSWER))
STEPS: list[tuple[int, list[ChallengeState]]] = [
    (7, [OPEN]),
    (8, [OPEN, OPEN._replace(opened_epoch=8, deadline_epoch=108)]),
    (9, [ANSWERED, OPEN._replace(opened_epoch=8, deadline_epoch=108), OPEN._replace(opened_epoch=9)]),
]
"""(epoch, state of each challenge that was opened until then)"""


def describe_maps() -> list[dict[str, Any]]:
    described = []
    for epoch, states in STEPS:
        rows = [(CHALLENGE.encode(c), CHALLENGE_STATE.encode(s)) for c, s in zip(CHALLENGES, states, strict=False)]
        made = StateMap[bytes].empty().update([(hash_challenge(c), hash_challenge(s), s) for c, s in rows])
        keys = [hash_challenge(CHALLENGE.encode(challenge)) for challenge in CHALLENGES]
        described.append(
            {
                "epoch": epoch,
                "challenges_root": made.root_hash,
                "challenges_count": made.count,
                "states": [{"key": hash_challenge(c), "state": s, "value_hash": hash_challenge(s)} for c, s in rows],
                "paths": [{"key": key} | made.prove(key)._asdict() for key in keys],
            }
        )
    return described


def describe_signed() -> list[dict[str, Any]]:
    """The log's receipt, and an outbox's admission."""
    key = hash_challenge(CHALLENGE.encode(CHALLENGES[0]))
    outbox = Actor(Role.OUTBOX, 0, 0)
    receipt = ChallengeReceipt(ORIGIN, Actor(Role.LOG, 0, 0).encode(), 0, key, 7)
    admission = AdmissionBody(ORIGIN, outbox.encode(), 0, 4, hash_complaint(PROOF))
    return [
        {"label": label, "fields": fields, "encoded": SIGNED.encode(signer.sign(label, ORIGIN, body))}
        for label, signer, fields, body in (
            ("challenge", LOG, CHALLENGE_RECEIPT.to_json(receipt), CHALLENGE_RECEIPT.encode(receipt)),
            ("admission", actor_key(outbox), ADMISSION_BODY.to_json(admission), ADMISSION_BODY.encode(admission)),
        )
    ]


def refused() -> list[dict[str, Any]]:
    wrong: list[tuple[str, StructCodec[Any], Any]] = [
        ("a challenge about an epoch that is not its seq's", CHALLENGE, CHALLENGES[0]._replace(epoch=5)),
        ("a deadline before the beginning", CHALLENGE_STATE, OPEN._replace(deadline_epoch=6)),
        ("an answer before the question", CHALLENGE_STATE, ANSWERED._replace(answered_epoch=6)),
        ("an answer in the epoch of the question", CHALLENGE_STATE, ANSWERED._replace(answered_epoch=7)),
        ("an answer while it is open", CHALLENGE_STATE, OPEN._replace(answer_hash=ANSWERED.answer_hash)),
        ("no answer when it was answered", CHALLENGE_STATE, ANSWERED._replace(answer_hash=NO_ANSWER)),
    ]
    return [
        {"why": why, "encoded": codec.encode(value), "code": refusal_of(codec.decode, codec.encode(value))}
        for why, codec, value in wrong
    ]


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    content = {
        "no_challenges": NO_CHALLENGES,
        "challenges": [
            {"fields": CHALLENGE.to_json(one), "encoded": CHALLENGE.encode(one), "key": key}
            for one, key in ((one, hash_challenge(CHALLENGE.encode(one))) for one in CHALLENGES)
        ],
        "answer": {"bytes": ANSWER, "answer_hash": hash_challenge(ANSWER)},
        "complaint": {"proof": PROOF, "proof_hash": hash_complaint(PROOF)},
        "maps": describe_maps(),
        "signed": describe_signed(),
        "refused": refused(),
    }
    return {"challenges.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
