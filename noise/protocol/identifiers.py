"""Names: devices, providers, actors, positions. All are fixed-width bytes whose order is meaningful.

Knows nothing of statements or transport.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from noise.protocol.errors import DecodeError
from noise.protocol.json_text import base64url, parse_base64url
from noise.protocol.signing import SUITE_ED25519, hasher

NO_EPOCH = 2**64 - 1
"""In `prev_epoch`, `last_epoch` and `until_epoch`: there is none. Never a real epoch."""

NO_SEQ = bytes(16)
"""In `last_seq`: nothing was ever delivered."""

_device_hash = hasher("device")
_origin_hash = hasher("origin")
_SUITE = SUITE_ED25519.to_bytes(2, "big")
_SEQ = struct.Struct(">QQ")
_ACTOR = struct.Struct(">BHH")


def device_id_of(public_key: bytes) -> bytes:
    """`H("device", u16 suite || public key)`, 32 bytes."""
    return _device_hash(_SUITE + public_key)


def origin_of(root_public_key: bytes) -> bytes:
    """`H("origin", u16 suite || provider root public key)`, 32 bytes: the provider's name and only trust anchor."""
    return _origin_hash(_SUITE + root_public_key)


def format_id(identifier: bytes) -> str:
    """A 32-byte id as people see it: unpadded base64url, 43 characters."""
    return base64url(identifier)


def parse_id(text: str) -> bytes:
    """The exact inverse of `format_id`. Raises DecodeError."""
    identifier = parse_base64url(text)
    if len(identifier) != 32:
        raise DecodeError("an id has 32 bytes: 43 characters of base64url")
    return identifier


class Role(IntEnum):
    INBOX = 1
    ROUTER = 2
    RECEIVER = 3
    OUTBOX = 4
    SEQUENCER = 5
    LOG = 6


class Actor(NamedTuple):
    """Who signs: a role in a shard, by number. Encoded as u8 || u16 || u16; byte order is the order of statements."""

    role: Role
    shard: int
    number: int

    def encode(self) -> bytes:
        return _ACTOR.pack(*self)

    def __str__(self) -> str:
        return f"{self.role.name.lower()}-{self.shard}-{self.number}"


def parse_actor(data: bytes) -> Actor:
    """The exact inverse of `Actor.encode`. Raises DecodeError."""
    if len(data) != 5 or not 1 <= data[0] <= len(Role):
        raise DecodeError("not an actor")
    role, shard, number = _ACTOR.unpack(data)
    return Actor(Role(role), shard, number)


def make_seq(epoch: int, lane: int, pos: int) -> bytes:
    """`epoch u64 || lane u16 || pos u48`, 16 bytes. Byte order is delivery order. Raises DecodeError."""
    return make_seqs(epoch, lane, pos, 1)[0]


def make_seqs(epoch: int, lane: int, first_pos: int, count: int) -> list[bytes]:
    """`count` consecutive positions. Raises DecodeError where they leave their lane."""
    if not 0 <= epoch < 1 << 64 or not 0 <= lane < 1 << 16 or not 0 <= first_pos <= first_pos + count <= 1 << 48:
        raise DecodeError("no such positions")
    pack = _SEQ.pack
    low = lane << 48 | first_pos
    return [pack(epoch, n) for n in range(low, low + count)]


def parse_seq(seq: bytes) -> tuple[int, int, int]:
    """(epoch, lane, pos): the exact inverse of `make_seq`. Raises DecodeError."""
    if len(seq) != 16:
        raise DecodeError("a seq has 16 bytes")
    epoch, low = _SEQ.unpack(seq)
    return epoch, low >> 48, low & 0xFFFF_FFFF_FFFF
