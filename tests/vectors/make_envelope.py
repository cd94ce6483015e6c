"""Makes the golden vectors of messages: recipient sets, envelopes, and a bundle with every value behind its signature.

In `refused`, `open_bundle` must refuse the encoded bundle with the code; each is rightly signed where it can be.
"""

from typing import Any

from noise.protocol.envelope import (
    BUNDLE_HEADER,
    BUNDLE_WIRE,
    ENVELOPE,
    Bundle,
    BundleWire,
    ciphertext_leaf_hashes,
    envelope_leaf_hashes,
    hash_ciphertext,
    open_bundle,
    recipient_leaf_hashes,
)
from noise.protocol.merkle import Tree
from noise.protocol.signing import hasher, signature_input
from tests.protocol.forgery import forge, recipient_set, sorted_set
from tests.vectors.cast import (
    ORIGIN,
    OTHER_ORIGIN,
    bundle_of,
    device_of,
    draft_of,
    mixed_bundle,
    recipients_of,
    seed_of,
    signer_of,
)
from tests.vectors.golden import readable, refusal_of, write

NAMES = ("alice", "bob", "carol", "dave", "erin")


def describe_sets(bundle: Bundle) -> list[dict[str, Any]]:
    described = []
    for members in bundle.recipients:
        salt_hash, recipient_hash = hasher("rsalt"), hasher("rcpt")
        salts = [salt_hash(members.env_salt + device_id)[:16] for device_id in members.device_ids]
        leaf_hashes = recipient_leaf_hashes(members.env_salt, members.device_ids)
        described.append(
            {
                "env_salt": members.env_salt,
                "device_ids": members.device_ids,
                "salts": salts,
                "hashes": [recipient_hash(salt + i) for salt, i in zip(salts, members.device_ids, strict=True)],
                "leaf_hashes": leaf_hashes,
                "proofs": [Tree(leaf_hashes).inclusion(i) for i in range(len(leaf_hashes))],
                "root": members.root,
            }
        )
    return described


def describe_messages(bundle: Bundle) -> list[dict[str, Any]]:
    described = []
    for i, row in enumerate(bundle.rows):
        members, size, column = bundle.recipients[row.set_index], row.ciphertext_len, bundle.ciphertext_columns[i]
        ciphertexts = [column[at : at + size] for at in range(0, len(column), size)] if size else []
        envelope = ENVELOPE.make(
            (
                bundle.sender,
                bundle.first_ctr + i,
                members.root,
                len(members.device_ids),
                row.common_len,
                bundle.payload_hashes[i],
                len(ciphertexts),
                bundle.ciphertexts_roots[i],
                row.created_ms,
            )
        )
        described.append(
            {
                "set_index": row.set_index,
                "common": bundle.commons[i],
                "ciphertexts": ciphertexts,
                "ciphertext_hashes": [hash_ciphertext(ciphertext) for ciphertext in ciphertexts],
                "ciphertext_leaf_hashes": ciphertext_leaf_hashes(column, size) if size else [],
                "envelope": envelope,
                "encoded": ENVELOPE.encode(envelope),
                "env_hash": bundle.env_hashes[i],
                "leaf_hash": envelope_leaf_hashes([bundle.env_hashes[i]])[0],
            }
        )
    return described


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    return {
        "root": bundle.root,
        "header": BUNDLE_HEADER.decode(bundle.body),
        "body": bundle.body,
        "bundle_hash": bundle.bundle_hash,
        "signature_input": signature_input("bundle", bundle.origin, bundle.body),
        "signature": bundle.signature,
        "encoded": bundle.encode(),
        "json": BUNDLE_WIRE.to_json(BUNDLE_WIRE.decode(bundle.encode())),
    }


def altered() -> list[tuple[str, BundleWire]]:
    """What a provider might make of a bundle of two messages with ciphertexts, under the sender's own signature."""
    drafts = [
        draft_of(recipients_of("alice", "bob"), b"one", 7),
        draft_of(recipients_of("alice", "bob", "carol"), b"two", 6),
    ]
    wire = BUNDLE_WIRE.decode(bundle_of("alice", drafts).encode())
    first, second = wire.rows
    us, both = wire.sets
    own = wire.ciphertexts
    shifted = (first._replace(common_len=4), second._replace(common_len=2))
    resized = (first._replace(ciphertext_len=10), second._replace(ciphertext_len=4))  # 2 * 10 + 3 * 4 bytes, as before
    others = tuple(sorted((*both.device_ids[:-1], device_of("dave"))))
    if device_of("alice") not in others:
        raise ValueError("this takes the sender out")
    return [
        ("a ciphertext missing", wire._replace(ciphertexts=own[:-6])),
        ("a byte moved between common ciphertexts", wire._replace(rows=shifted)),
        ("bytes moved between the columns of ciphertexts", wire._replace(rows=resized)),
        ("two recipients' ciphertexts swapped", wire._replace(ciphertexts=own[7:14] + own[:7] + own[14:])),
        (
            "two recipients' ciphertexts swapped",
            wire._replace(ciphertexts=own[:14] + own[20:26] + own[14:20] + own[26:]),
        ),
        ("another counter", wire._replace(first_ctr=wire.first_ctr + 1)),
        ("another time", wire._replace(rows=(first._replace(created_ms=0), second))),
        ("another salt", wire._replace(sets=(us._replace(env_salt=bytes(16)), both))),
        ("another recipient", wire._replace(sets=(us, both._replace(device_ids=others)))),
        ("messages swapped", wire._replace(rows=(second._replace(set_index=0), first._replace(set_index=1)))),
        ("a message left out", wire._replace(rows=(first,), sets=(us,), commons=b"one", ciphertexts=own[:14])),
        ("another key", wire._replace(key=signer_of("bob").public_key)),
        ("no signature", wire._replace(signature=bytes(64))),
    ]


def refused_bundles() -> list[tuple[str, BundleWire]]:
    us, both = sorted_set("alice", "bob"), sorted_set("alice", "bob", "carol")
    base = forge([us], [(0, b"message")])
    ids = us.device_ids
    return [
        ("another provider", forge([us], [(0, b"x")], origin=OTHER_ORIGIN)),
        ("no message", forge([], [])),
        ("no message, but recipients", base._replace(rows=())),
        ("no recipient", forge([us._replace(device_ids=())], [(0, b"x")])),
        ("recipients out of order", forge([us._replace(device_ids=ids[::-1])], [(0, b"x")])),
        ("a recipient twice", forge([us._replace(device_ids=(ids[0], ids[0], ids[1]))], [(0, b"x")])),
        ("a recipient twice, apart", forge([us._replace(device_ids=(*ids, ids[0]))], [(0, b"x")])),
        ("without the sender", forge([recipient_set("bob")], [(0, b"x")])),
        ("one message without the sender", forge([us, recipient_set("bob")], [(0, b"x"), (1, b"x")])),
        ("a message larger than any, in name", base._replace(rows=(base.rows[0]._replace(common_len=2**18 + 1),))),
        ("a ciphertext larger than any, in name", base._replace(rows=(base.rows[0]._replace(ciphertext_len=4097),))),
        ("counters beyond the last", forge([us], [(0, b"x")] * 2, first_ctr=2**64 - 2)),
        ("an unused recipient set", base._replace(sets=(us, both))),
        ("sets not in the order of use", forge([both, us], [(1, b"x"), (0, b"y")])),
        ("one set twice", forge([us, us], [(0, b"x"), (1, b"y")])),
        ("a row of no set", base._replace(rows=(base.rows[0]._replace(set_index=1),))),
        ("a common ciphertext too short", base._replace(commons=b"messag")),
        ("a common ciphertext too long", base._replace(commons=b"message!")),
        ("ciphertexts of nobody", base._replace(ciphertexts=b"x")),
        *altered(),
    ]


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    refused = []
    for why, wire in refused_bundles():
        encoded = BUNDLE_WIRE.encode(wire)
        refused.append({"why": why, "encoded": encoded, "code": refusal_of(open_bundle, encoded, ORIGIN)})
    good = mixed_bundle()
    encodings = [("cut short", good.encode()[:-1]), ("a byte too many", good.encode() + b"\0"), ("nothing", b"")]
    for why, encoded in encodings:
        refused.append({"why": why, "encoded": encoded, "code": refusal_of(open_bundle, encoded, ORIGIN)})
    sets = [recipients_of(*NAMES[:n], salt=f"salt of {n}") for n in range(1, 6)]
    content = {
        "origin": ORIGIN,
        "seed": seed_of("alice"),
        "sets": describe_sets(good),
        "messages": describe_messages(good),
        "bundle": describe_bundle(good),
        "recipients": [{"env_salt": s.env_salt, "device_ids": s.device_ids, "root": s.root} for s in sets],
        "refused": refused,
    }
    return {"envelope.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
