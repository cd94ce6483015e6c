"""Makes the golden vectors of a mailbox's history: every record, and the state and compact range after it.

The story's mailbox has no own ciphertexts in its first record, as many as messages in the next, and some thereafter.
"""

from typing import Any

from noise.protocol.history import (
    HISTORY_RECORD,
    KIND_DEVICE,
    MAILBOX_STATE,
    STATUS_ACTIVE,
    History,
    MailboxState,
    apply_record,
    hash_state,
    map_key_of,
    new_history,
    next_record,
    own_ciphertexts_root,
)
from noise.protocol.identifiers import NO_EPOCH, make_seqs
from noise.protocol.merkle import leaf_hash, tree_root
from tests.vectors.cast import device_of, filler
from tests.vectors.golden import readable, refusal_of, write

MAILBOX = device_of("alice")
EPOCHS = [(5, 1, 0), (6, 2, 2), (9, 3, 1), (2**53 + 1, 1, 0), (2**64 - 2, 4, 2)]
"""(epoch, messages, own ciphertexts)"""


def grow() -> list[tuple[History, dict[str, Any]]]:
    """The history after each epoch, with what led there."""
    history, grown = new_history(MAILBOX, EPOCHS[0][0]), []
    for epoch, n_messages, n_own in EPOCHS:
        seqs = make_seqs(epoch, 0, 7, n_messages)
        leaf_hashes = [leaf_hash(filler(f"leaf {seq.hex()}", 32)) for seq in seqs]
        own = [(seq, filler(f"ciphertext {seq.hex()}", 32)) for seq in seqs[:n_own]]
        record = next_record(history, epoch, n_messages, tree_root(leaf_hashes), own_ciphertexts_root(own))
        encoded = HISTORY_RECORD.encode(record)
        history = apply_record(history, record, encoded, seqs[-1])
        grown.append(
            (
                history,
                {
                    "leaf_hashes": leaf_hashes,
                    "own_ciphertexts": [{"seq": seq, "hash": h} for seq, h in own],
                    "last_seq": seqs[-1],
                    "record": HISTORY_RECORD.to_json(record),
                    "encoded": encoded,
                    "leaf_hash": leaf_hash(encoded),
                },
            )
        )
    return grown


def describe_state(history: History) -> dict[str, Any]:
    encoded = MAILBOX_STATE.encode(history.state)
    return {
        "fields": MAILBOX_STATE.to_json(history.state),
        "encoded": encoded,
        "hash": hash_state(encoded),
        "peaks": history.records.peaks,
    }


def refused_states(state: MailboxState) -> list[tuple[str, MailboxState]]:
    return [
        ("no kind", state._replace(kind=0)),
        ("a kind that is none", state._replace(kind=KIND_DEVICE + 1)),
        ("no status", state._replace(status=0)),
        ("a status that is none", state._replace(status=STATUS_ACTIVE + 1)),
        ("active, with an end", state._replace(until_epoch=7)),
        ("active until epoch 0", state._replace(until_epoch=0)),
        ("active, with a target", state._replace(target=device_of("bob"))),
    ]


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    grown = grow()
    refused = refused_states(grown[-1][0].state)
    content = {
        "mailbox": MAILBOX,
        "map_key": map_key_of(MAILBOX),
        "no_epoch": NO_EPOCH,
        "new": describe_state(new_history(MAILBOX, EPOCHS[0][0])),
        "records": [{**parts, "state": describe_state(history)} for history, parts in grown],
        "refused_states": [
            {
                "why": why,
                "encoded": MAILBOX_STATE.encode(state),
                "code": refusal_of(MAILBOX_STATE.decode, MAILBOX_STATE.encode(state)),
            }
            for why, state in refused
        ],
    }
    return {"history.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
