"""Makes the golden vectors of deltas: sections of one bundle for three mailboxes, and whole deltas of three epochs.

A section opens, at (origin, mailbox, epoch) with the recipient lists beside it, to the deliveries; those in `refused`
do not open. The deltas bring bob from nothing to the end of the story, one epoch each; `cursor` is his after each.
"""

from typing import Any

from noise.protocol.delta import DELTA, SECTION, Delivery, RecipientLists, Section, open_section
from noise.protocol.envelope import Recipients
from noise.protocol.follower import Follower, Step, new_lists
from noise.protocol.identifiers import make_seq
from tests.vectors.cast import ORIGIN, device_of
from tests.vectors.epochs import Provider, section_of, story
from tests.vectors.golden import readable, refusal_of, write

NAMES = ("alice", "bob", "carol")


def describe(delivery: Delivery) -> dict[str, Any]:
    return delivery._replace(recipients=None)._asdict() | {"recipients_root": delivery.recipients.root}  # type: ignore[arg-type]


def describe_sections(provider: Provider) -> list[dict[str, Any]]:
    placed = provider.epochs[0].placed[0]
    lists = {members.root: members for members in placed.bundle.recipients}
    described = []
    for name in NAMES:
        mailbox = device_of(name)
        section, _ = section_of(placed, mailbox)
        opened = open_section(section, ORIGIN, mailbox, 0, lists.__getitem__)
        described.append(
            {
                "mailbox": mailbox,
                "epoch": 0,
                "encoded": SECTION.encode(section),
                "indexes": section.indexes,
                "deliveries": [describe(delivery) for delivery in opened.deliveries],
                "own_ciphertexts": [{"seq": seq, "hash": h} for seq, h in opened.own_ciphertexts],
            }
        )
    return described


def refused_sections(section: Section) -> list[tuple[str, Section]]:
    """Of bob's section, which has four of five messages."""
    first, *others = section.rows
    proofs = section.ciphertext_proofs
    return [
        ("indexes out of order", section._replace(indexes=(0, 1, 4, 2))),
        ("an index twice", section._replace(indexes=(0, 0, 1, 2))),
        ("an index beyond the bundle", section._replace(indexes=(0, 1, 2, 5))),
        ("other indexes", section._replace(indexes=(0, 1, 2, 3))),
        ("all of the bundle", section._replace(indexes=())),
        ("no row", section._replace(rows=())),
        ("a row of no list", section._replace(rows=(first._replace(set_index=2), *others))),
        ("another list", section._replace(rows=(first._replace(set_index=1), *others))),
        ("another time", section._replace(rows=(first._replace(created_ms=0), *others))),
        ("a bundle of more messages", section._replace(n_envelopes=6)),
        ("a bundle of too many messages", section._replace(n_envelopes=257)),
        ("another counter", section._replace(first_ctr=section.first_ctr + 1)),
        ("counters beyond the last", section._replace(first_ctr=2**64 - 1)),
        ("another epoch", section._replace(first_seq=make_seq(1, 0, 0))),
        ("positions beyond the lane", section._replace(first_seq=make_seq(0, 0, 2**48 - 1))),
        ("another common ciphertext", section._replace(commons=section.commons[::-1])),
        ("a common ciphertext too long", section._replace(commons=section.commons + b"\0")),
        ("a proof too short", section._replace(proof=section.proof[:-1])),
        ("a proof too long", section._replace(proof=(*section.proof, bytes(32)))),
        ("another proof", section._replace(proof=(bytes(32),) * len(section.proof))),
        ("another own ciphertext", section._replace(ciphertexts=section.ciphertexts[::-1])),
        ("an own ciphertext too many", section._replace(ciphertexts=section.ciphertexts + b"\0")),
        ("an own proof too few", section._replace(ciphertext_proofs=proofs[:-1])),
        ("an own proof too many", section._replace(ciphertext_proofs=(*proofs, ()))),
        ("another signature", section._replace(signature=bytes(64))),
        ("another key", section._replace(key=bytes(32))),
    ]


def describe_refused(provider: Provider) -> list[dict[str, Any]]:
    placed = provider.epochs[0].placed[0]
    lists = {members.root: members for members in placed.bundle.recipients}
    bob, carol = device_of("bob"), device_of("carol")
    section, _ = section_of(placed, bob)
    cases = [(why, changed, bob) for why, changed in refused_sections(section)]
    cases.append(("another mailbox", section, carol))
    return [
        {
            "why": why,
            "mailbox": mailbox,
            "encoded": SECTION.encode(changed),
            "code": refusal_of(open_section, changed, ORIGIN, mailbox, 0, lists.__getitem__),
        }
        for why, changed, mailbox in cases
    ]


def follow(provider: Provider, mailbox: bytes) -> list[dict[str, Any]]:
    """Every epoch's delta on one connection, and what the follower makes of it."""
    follower = Follower(ORIGIN, mailbox, last_counter=lambda _: None)
    lists = RecipientLists()
    described = []
    for number in range(len(provider.epochs)):
        delta = provider.delta(mailbox, number, number, [root for root in all_roots(provider) if lists.get(root)])
        step: Step = follower.check_delta(delta, lists)
        follower.adopt(step)
        lists.admit(new_lists(delta))
        described.append(
            {
                "encoded": DELTA.encode(delta),
                "epoch": step.epoch,
                "time_ms": step.time_ms,
                "seqs": [delivery.seq for delivery in step.deliveries],
                "cursor": follower.cursor,
            }
        )
    return described


def all_roots(provider: Provider) -> list[bytes]:
    sets: list[Recipients] = [r for e in provider.epochs for p in e.placed for r in p.bundle.recipients]
    return [members.root for members in sets]


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    provider = story()
    bundle = provider.epochs[0].placed[0].bundle
    sections = {
        "origin": ORIGIN,
        "bundle": bundle.encode(),
        "recipients": [
            {"env_salt": members.env_salt, "device_ids": members.device_ids, "root": members.root}
            for members in bundle.recipients
        ],
        "sections": describe_sections(provider),
        "refused": describe_refused(provider),
    }
    mailbox = device_of("bob")
    deltas = {"origin": ORIGIN, "mailbox": mailbox, "deltas": follow(provider, mailbox)}
    return {"section.json": readable(sections), "delta.json": readable(deltas)}


if __name__ == "__main__":
    write(vectors())
