"""The cast of the tests and golden vectors: one provider, some devices, and what they sign; all from fixed names.

Knows nothing of what a test does with it. A key's seed is `SHA-256("noise test key " || name)`: anybody can make it.
"""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

from noise.protocol.checkpoint import log_name_of
from noise.protocol.envelope import Bundle, Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.identifiers import Actor, Role, device_id_of, origin_of
from noise.protocol.signing import SUITE_ED25519, Signed, Signer
from noise.protocol.statements import ROSTER, Lane, Parameters, Roster, RosterEntry

CREATED_MS = 1_700_000_000_000
NO_PREVIOUS = bytes(32)


def seed_of(name: str) -> bytes:
    return sha256(b"noise test key " + name.encode()).digest()


@cache
def signer_of(name: str) -> Signer:
    return Signer(seed_of(name))


def device_of(name: str) -> bytes:
    return device_id_of(signer_of(name).public_key)


ROOT = signer_of("root")
LOG = signer_of("log")
SEQUENCER = signer_of("sequencer")
ORIGIN = origin_of(ROOT.public_key)
LOG_NAME = log_name_of(ORIGIN)
OTHER_ORIGIN = origin_of(signer_of("another root").public_key)


def filler(name: str, size: int) -> bytes:
    """Bytes that look random and are always the same."""
    blocks = [sha256(f"{name} {i}".encode()).digest() for i in range(size // 32 + 1)]
    return b"".join(blocks)[:size]


@cache
def recipients_of(*names: str, salt: str = "salt") -> Recipients:
    """The sorted set of these devices."""
    return Recipients(RecipientSet(filler(salt, 16), tuple(sorted(device_of(name) for name in names))))


def draft_of(recipients: Recipients, common: bytes, ciphertext_len: int = 0, created_ms: int = CREATED_MS) -> Draft:
    """A message whose per-recipient ciphertexts, if any, differ for each recipient."""
    ids = recipients.device_ids if ciphertext_len else ()
    own = tuple(filler(f"{common.hex()} {device_id.hex()}", ciphertext_len) for device_id in ids)
    return Draft(recipients, common, own, created_ms)


def bundle_of(name: str, drafts: Sequence[Draft], first_ctr: int = 1, origin: bytes = ORIGIN) -> Bundle:
    return build_bundle(signer_of(name), origin, first_ctr, drafts)


def mixed_bundle() -> Bundle:
    """Five messages of alice to three recipient sets, with and without ciphertexts, some of them empty."""
    us = recipients_of("alice", "bob")
    all_of_us = recipients_of("alice", "bob", "carol")
    myself = recipients_of("alice")
    drafts = [
        draft_of(us, b"to bob", 48),
        draft_of(all_of_us, b"to bob and carol"),
        draft_of(us, b"", 64, CREATED_MS + 1),
        draft_of(myself, b"a note to myself", 1),
        draft_of(all_of_us, b"to both again", 48, 0),
    ]
    return bundle_of("alice", drafts, first_ctr=7)


def actor_key(actor: Actor) -> Signer:
    return {Role.SEQUENCER: SEQUENCER, Role.LOG: LOG}.get(actor.role) or signer_of(str(actor))


def make_roster(n_inboxes: int = 1, n_outboxes: int = 1, version: int = 1, previous: bytes = NO_PREVIOUS) -> Roster:
    counts = {Role.INBOX: n_inboxes, Role.ROUTER: n_inboxes, Role.RECEIVER: n_outboxes, Role.OUTBOX: n_outboxes}
    actors = [Actor(role, 0, number) for role in Role for number in range(counts.get(role, 1))]
    entries = tuple(RosterEntry(a.encode(), 0, SUITE_ED25519, actor_key(a).public_key) for a in actors)
    lanes = tuple(Lane(i, actor.encode()) for i, actor in enumerate(actors[:n_inboxes]))
    parameters = Parameters(20, 1000, 15_000, 1000, 100)
    return Roster(ORIGIN, version, previous, 0, ROOT.public_key, LOG_NAME, entries, lanes, parameters)


def sign_roster(roster: Roster) -> Signed:
    return ROOT.sign("roster", ORIGIN, ROSTER.encode(roster))
