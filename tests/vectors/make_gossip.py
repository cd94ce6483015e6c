"""Makes the golden vectors of gossip: compact checkpoints, every frame, the opening of a link, an exported view.

Testimonies, log openings and proofs are opaque here: `evidence` has vectors for them.
"""

from typing import Any

from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.exported_view import (
    EXPORTED_FILE,
    EXPORTED_VIEW,
    ExportedSection,
    ExportedView,
    SharedTestimony,
    open_view,
    sign_view,
)
from noise.protocol.gossip import (
    COMPACT_CHECKPOINT,
    GOSSIP_TYPES,
    LINK_PROOF,
    VIEW,
    CompactCheckpoint,
    GossipFrame,
    LinkChallenge,
    LinkProof,
    LinkProofFrame,
    LogFrame,
    LogRequest,
    ProofFrame,
    Reason,
    SectionFrame,
    SectionRequest,
    StatementFrame,
    StatementRequest,
    View,
    ViewFrame,
    answer_challenge,
    compact,
    encode_gossip,
    expand,
    parse_gossip,
    verify_link,
)
from tests.vectors.cast import (
    CREATED_MS,
    LOG,
    LOG_NAME,
    ORIGIN,
    OTHER_ORIGIN,
    device_of,
    filler,
    seed_of,
    signer_of,
)
from tests.vectors.golden import readable, refusal_of, write
from tests.vectors.make_pair_chain import grow

ALICE, BOB = device_of("alice"), device_of("bob")
NOTES = [sign_checkpoint(LOG, Checkpoint(LOG_NAME, size, filler(f"root {size}", 32))) for size in (7, 2**53 + 1)]
CHAINS, ITEMS, KNOWN = grow()

ALICES = LinkChallenge(ORIGIN, ALICE, filler("nonce of alice", 32))
BOBS = LinkChallenge(ORIGIN, BOB, filler("nonce of bob", 32))
ALICES_PROOF = answer_challenge(signer_of("alice"), ORIGIN, BOBS)


def frames() -> list[GossipFrame]:
    """One of each type, and a few more."""
    cut, testimony = KNOWN.steps[2], filler("testimony", 50)
    return [
        ALICES,
        ALICES_PROOF,
        ViewFrame(View(None, ())),
        ViewFrame(View(compact(NOTES[1]), tuple(KNOWN.steps[1:]))),
        SectionRequest(2**32 - 1, cut.epoch, 1),
        SectionFrame(2**32 - 1, cut.epoch, 1, Reason.NONE, tuple(ITEMS[1 : cut.length])),
        SectionFrame(8, 2**60, 0, Reason.LATER, ()),
        StatementRequest(9, ITEMS[2].seq),
        StatementFrame(9, ITEMS[2].seq, Reason.NONE, testimony),
        StatementFrame(9, ITEMS[2].seq, Reason.FORGOTTEN, b""),
        LogRequest(10, 2**53 + 1),
        LogFrame(10, 2**53 + 1, Reason.NONE, filler("opening", 40)),
        LogFrame(10, 2**53 + 1, Reason.UNWILLING, b""),
        ProofFrame(filler("proof", 60)),
    ]


def refused_frames() -> list[tuple[str, bytes]]:
    view, page = (encode_gossip(ViewFrame(View(None, ()))), encode_gossip(SectionFrame(1, 2, 3, 0, tuple(ITEMS[:1]))))
    return [
        ("nothing", b""),
        ("type 0", b"\x00" + view[1:]),
        ("type 11", b"\x0b" + view[1:]),
        ("one byte fewer", page[:-1]),
        ("one byte more", page + b"\0"),
        ("four cuts", view[:-1] + b"\x04" + 4 * bytes(48)),
        ("more items than bytes", page[:22] + b"\xff\xff\xff\xff" + page[26:]),
        ("257 items", page[:22] + (257).to_bytes(4, "big") + 257 * page[26:]),
        ("a flag that is none", view[:1] + b"\x02" + view[2:]),
        ("longer than any frame", b"\x0a" + ((1 << 20) + 60).to_bytes(4, "big") + bytes((1 << 20) + 60)),
    ]


def link_proof(name: str = "alice", origin: bytes = ORIGIN, signed_as: str = "gossip", **fields: bytes) -> Any:
    """Alice's proof for bob with other fields, rightly signed all the same."""
    signer = signer_of(name)
    proof = LinkProof(origin, ALICE, signer_of("alice").public_key, BOBS.nonce, BOB)._replace(**fields)
    return LinkProofFrame(*signer.sign(signed_as, origin, LINK_PROOF.encode(proof)))


def refused_proofs() -> list[tuple[str, LinkProofFrame]]:
    mallory = signer_of("mallory")
    return [
        ("another provider", link_proof(origin=OTHER_ORIGIN)),
        ("another nonce", link_proof(nonce=filler("another nonce", 32))),
        ("for another peer", link_proof(peer_id=device_of("carol"))),
        ("for itself", link_proof(peer_id=ALICE)),
        ("another device", link_proof("mallory", device_id=device_of("mallory"), key=mallory.public_key)),
        ("bob's own, sent back", answer_challenge(signer_of("bob"), ORIGIN, ALICES)),
        ("another key", link_proof("mallory", key=mallory.public_key)),
        ("another signature", link_proof("mallory")),
        ("signed as something else", link_proof(signed_as="auth")),
        ("no proof", LinkProofFrame(b"", bytes(64))),
    ]


def exported() -> ExportedView:
    shared = (SharedTestimony(ITEMS[2].seq, filler("testimony", 50)),)
    section = ExportedSection(BOB, tuple(KNOWN.steps[1:]), 1, tuple(ITEMS[1:]), shared)
    key = signer_of("alice").public_key
    return ExportedView(ORIGIN, ALICE, key, CREATED_MS, tuple(map(compact, NOTES)), section)


def refused_files() -> list[tuple[str, bytes]]:
    view = exported()._replace(section=None)
    good = EXPORTED_FILE.decode(sign_view(signer_of("alice"), view))
    foreign, mallory = view._replace(origin=OTHER_ORIGIN), signer_of("mallory")
    body = EXPORTED_VIEW.encode(view._replace(key=mallory.public_key))
    return [
        ("nothing", b""),
        ("of another provider", sign_view(signer_of("alice"), foreign)),
        ("another signature", EXPORTED_FILE.encode(good._replace(signature=mallory.sign_raw(good.body)))),
        ("another key", EXPORTED_FILE.encode(good._replace(body=body, signature=mallory.sign_raw(body)))),
        (
            "changed after signing",
            EXPORTED_FILE.encode(good._replace(body=EXPORTED_VIEW.encode(view._replace(created_ms=0)))),
        ),
        ("no view", EXPORTED_FILE.encode(good._replace(body=b"\x00\x1a"))),
        ("another record type", EXPORTED_FILE.encode(good._replace(body=b"\x00\x1b" + good.body[2:]))),
    ]


def checkpoint_vectors() -> dict[str, Any]:
    accepted = []
    for note in NOTES:
        checkpoint = compact(note)
        if expand(checkpoint, ORIGIN, LOG.public_key) != note:
            raise ValueError("a note does not come back")
        accepted.append(
            {"note": note.decode(), "compact": checkpoint, "encoded": COMPACT_CHECKPOINT.encode(checkpoint)}
        )
    good = compact(NOTES[0])
    refused: list[tuple[str, CompactCheckpoint, bytes, bytes]] = [
        ("another size", good._replace(size=8), ORIGIN, LOG.public_key),
        ("another root", good._replace(root=bytes(32)), ORIGIN, LOG.public_key),
        ("another provider", good, OTHER_ORIGIN, LOG.public_key),
        ("another key", good, ORIGIN, signer_of("another log").public_key),
        ("no size of a log", good._replace(size=2**63), ORIGIN, LOG.public_key),
    ]
    return {
        "key": LOG.public_key,
        "accepted": accepted,
        "refused": [
            {
                "why": why,
                "compact": checkpoint,
                "origin": origin,
                "key": key,
                "code": refusal_of(expand, checkpoint, origin, key),
            }
            for why, checkpoint, origin, key in refused
        ],
    }


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    view, file = exported(), sign_view(signer_of("alice"), exported())
    verify_link(ALICES_PROOF, BOBS, ALICES)
    link = {
        "alice": ALICES,
        "bob": BOBS,
        "proof_of_alice": {"body": ALICES_PROOF.body, "signature": ALICES_PROOF.signature},
        "refused": [
            {
                "why": why,
                "body": frame.body,
                "signature": frame.signature,
                "code": refusal_of(verify_link, frame, BOBS, ALICES),
            }
            for why, frame in refused_proofs()
        ],
    }
    content = {
        "origin": ORIGIN,
        "seeds": {name: seed_of(name) for name in ("alice", "bob", "log", "mallory")},
        "checkpoints": checkpoint_vectors(),
        "largest_view": len(VIEW.encode(View(compact(NOTES[0]), tuple(KNOWN.steps[:3])))),
        "types": {name: number for name, (number, _) in GOSSIP_TYPES.items()},
        "frames": [{"type": type(frame).__name__, "encoded": encode_gossip(frame)} for frame in frames()],
        "refused_frames": [
            {"why": why, "encoded": data, "code": refusal_of(parse_gossip, data)}
            for why, data in refused_frames()
            if len(data) < 1000
        ],
        "link": link,
        "exported_view": {"view": EXPORTED_VIEW.to_json(view), "encoded": file},
        "refused_files": [
            {"why": why, "encoded": data, "code": refusal_of(open_view, data, ORIGIN)} for why, data in refused_files()
        ],
    }
    return {"gossip.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
