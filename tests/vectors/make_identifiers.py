"""Makes the golden vectors of names: devices, providers, actors, positions; and of placement, which rests on them."""

from typing import Any

from noise.protocol.checkpoint import log_name_of
from noise.protocol.identifiers import (
    NO_EPOCH,
    NO_SEQ,
    Actor,
    Role,
    device_id_of,
    format_id,
    make_seq,
    origin_of,
    parse_actor,
    parse_id,
)
from noise.protocol.placement import Rendezvous
from tests.vectors.cast import device_of, signer_of
from tests.vectors.golden import readable, refusal_of, write

NAMES = ("alice", "bob", "carol", "dave", "erin", "root")
ACTORS = [
    Actor(Role.INBOX, 0, 0),
    Actor(Role.ROUTER, 0, 1),
    Actor(Role.RECEIVER, 1, 0),
    Actor(Role.OUTBOX, 258, 65535),
    Actor(Role.SEQUENCER, 0, 0),
    Actor(Role.LOG, 65535, 0),
]
POSITIONS = [
    (0, 0, 0),
    (0, 0, 1),
    (0, 0, 2**48 - 1),
    (0, 1, 0),
    (0, 65535, 2**48 - 1),
    (1, 0, 0),
    (2**53 + 1, 258, 2**40 + 1),
    (2**64 - 1, 65535, 2**48 - 1),
]
NO_ACTORS = ["", "01000000", "010000000000", "0000000000", "0700000000", "ff00000000"]
NO_IDS = [
    *("", "A" * 42, "A" * 44, "A" * 43 + "=", "A" * 42 + "B", "A" * 42 + "+", "A" * 42 + "/", " " + "A" * 43),
    *("A" * 43 + "\n", "A" * 42 + "\u00c0", "A" * 21 + " " + "A" * 22),
]


def outboxes(count: int) -> list[Actor]:
    return [Actor(Role.OUTBOX, 0, number) for number in range(count)]


def placement_vectors() -> dict[str, Any]:
    sharded = [Actor(Role.OUTBOX, shard, number) for shard in range(2) for number in range(2)]
    placed = {name: [Rendezvous(outboxes(n)).number(device_of(name)) for n in range(1, 9)] for name in NAMES}
    return {
        "device_ids": {name: device_of(name) for name in NAMES},
        "numbers_among_1_to_8_outboxes": placed,
        "sharded_actors": [actor.encode() for actor in sharded],
        "actors_among_sharded": {name: Rendezvous(sharded).actor(device_of(name)).encode() for name in NAMES},
    }


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    keys = [(name, signer_of(name).public_key) for name in NAMES]
    seqs = [make_seq(*position) for position in POSITIONS]
    if seqs != sorted(seqs):
        raise ValueError("byte order is not delivery order")
    identifiers = {
        "no_epoch": NO_EPOCH,
        "no_seq": NO_SEQ,
        "devices": [
            {"public_key": key, "device_id": device_id_of(key), "text": format_id(device_id_of(key))} for _, key in keys
        ],
        "origins": [
            {"root_public_key": key, "origin": origin_of(key), "log_name": log_name_of(origin_of(key))}
            for _, key in keys
        ],
        "actors": [{**actor._asdict(), "encoded": actor.encode(), "text": str(actor)} for actor in ACTORS],
        "seqs": [
            {"epoch": epoch, "lane": lane, "pos": pos, "seq": seq}
            for (epoch, lane, pos), seq in zip(POSITIONS, seqs, strict=True)
        ],
        "no_actors": NO_ACTORS,
        "no_ids": NO_IDS,
    }
    for text in NO_IDS:
        refusal_of(parse_id, text)
    for encoded in NO_ACTORS:
        refusal_of(parse_actor, bytes.fromhex(encoded))
    return {"identifiers.json": readable(identifiers), "placement.json": readable(placement_vectors())}


if __name__ == "__main__":
    write(vectors())
