"""Makes the golden vectors of pair chains: every head of a chain, and what comes of cuts compared with it.

`steps` are the cuts after each epoch that lengthened the chain. `compared` shows cuts of a peer against ours, of which
the epochs `[first_epoch, next_epoch)` are known.
"""

from typing import Any

from noise.protocol.identifiers import make_seq
from noise.protocol.pair_chain import CUT, ChainItem, Cut, KnownCuts, PairChain, compare, new_chain
from tests.vectors.cast import device_of, filler
from tests.vectors.golden import readable, refusal_of, write

ALICE, BOB = device_of("alice"), device_of("bob")
EPOCHS = [(3, 1), (4, 2), (9, 1), (2**53 + 1, 3)]
"""(epoch, messages to both)"""
NEXT_EPOCH = 2**53 + 7


def items_of(epoch: int, count: int) -> list[ChainItem]:
    seqs = [make_seq(epoch, lane, 5 + lane) for lane in range(count)]
    return [ChainItem(seq, filler(f"env {seq.hex()}", 32)) for seq in seqs]


def grow() -> tuple[list[PairChain], list[ChainItem], KnownCuts]:
    """The chain after each message, its items, and what is known of it."""
    chains, items = [new_chain(ALICE, BOB)], list[ChainItem]()
    steps = []
    for epoch, count in EPOCHS:
        for item in items_of(epoch, count):
            chains.append(chains[-1].append(*item))
            items.append(item)
        steps.append(chains[-1].cut_at(epoch))
    return chains, items, KnownCuts(chains[0].cut_at(0), steps, NEXT_EPOCH)


def compared() -> list[tuple[str, KnownCuts, Cut]]:
    chains, _, known = grow()
    last = known.steps[-1]
    late = KnownCuts(known.steps[1], known.steps[2:], NEXT_EPOCH)
    return [
        ("before any message", known, chains[0].cut_at(2)),
        ("at a step", known, known.steps[1]),
        ("between steps", known, known.steps[1]._replace(epoch=8)),
        ("the newest epoch of ours", known, last._replace(epoch=NEXT_EPOCH - 1)),
        ("an epoch that we have not verified", known, last._replace(epoch=NEXT_EPOCH)),
        ("an epoch that never is", known, last._replace(epoch=2**64 - 1)),
        ("one message fewer", known, chains[-2].cut_at(last.epoch)),
        ("another head", known, last._replace(head=filler("head", 32))),
        ("another length", known, last._replace(length=last.length + 1)),
        ("the chain of a later epoch", known, known.steps[1]._replace(epoch=3)),
        ("forgotten", late, known.steps[0]),
        ("at the first that is kept", late, known.steps[1]),
        ("after the first that is kept", late, known.steps[2]),
    ]


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    chains, items, known = grow()
    cases = [
        {
            "why": why,
            "first_epoch": own.base.epoch,
            "next_epoch": own.next_epoch,
            "cut": cut,
            "encoded": CUT.encode(cut),
            "comparison": compare(own, cut).value,
        }
        for why, own, cut in compared()
    ]
    content = {
        "devices": {"alice": ALICE, "bob": BOB},
        "pair": chains[0].pair,
        "items": items,
        "heads": [chain.head for chain in chains],
        "steps": known.steps,
        "compared": cases,
        "refused": [
            {"why": why, "one": one, "other": other, "code": refusal_of(new_chain, one, other)}
            for why, one, other in [("one device", ALICE, ALICE), ("no ids", ALICE[:31], ALICE[31:] + BOB)]
        ],
    }
    return {"pair_chain.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
