"""Challenges that serve once and bearer tokens that live for a while, in memory and bounded.

Knows nothing of HTTP or signatures. Of a token only its SHA-256 is kept: a copy of this memory lets nobody read. Both
tables drop their oldest entries when they are full: whoever held one asks again.
"""

import secrets
from collections import OrderedDict
from hashlib import sha256
from typing import Generic, TypeVar

from noise.protocol.errors import SignatureError
from noise.protocol.limits import CHALLENGE_MS

TOKEN_MS = 15 * 60_000
"""Life of a token."""

CHALLENGES_MAX = 1 << 17
"""More than one process can hand out in CHALLENGE_MS: 30 MiB."""

TOKENS_MAX = 1 << 16
"""20 MiB."""

T = TypeVar("T")


class _Expiring(Generic[T]):
    """Values by key, each for `life_ms`, `count_max` of them."""

    def __init__(self, life_ms: int, count_max: int) -> None:
        self._life_ms = life_ms
        self._count_max = count_max
        self._items: OrderedDict[bytes, tuple[int, T]] = OrderedDict()

    def put(self, key: bytes, value: T, now_ms: int) -> None:
        items = self._items
        items[key] = (now_ms + self._life_ms, value)
        while len(items) > self._count_max or next(iter(items.values()))[0] < now_ms:
            items.popitem(last=False)

    def get(self, key: bytes, now_ms: int) -> T | None:
        expires_ms, value = self._items.get(key, (-1, None))
        return value if now_ms <= expires_ms else None

    def take(self, key: bytes, now_ms: int) -> T | None:
        value = self.get(key, now_ms)
        self._items.pop(key, None)
        return value


class Challenges:
    """Nonces that wait for their one proof."""

    def __init__(self, count_max: int = CHALLENGES_MAX) -> None:
        self._nonces = _Expiring[bool](CHALLENGE_MS, count_max)

    def issue(self, now_ms: int) -> bytes:
        """A new nonce, 32 random bytes."""
        nonce = secrets.token_bytes(32)
        self._nonces.put(nonce, True, now_ms)
        return nonce

    def spend(self, nonce: bytes, now_ms: int) -> None:
        """Let a nonce serve, whatever comes of it. Raises SignatureError for one that cannot serve (any more)."""
        if not self._nonces.take(nonce, now_ms):
            raise SignatureError("no such challenge: it expired, or served before", code="unknown-challenge")


class Tokens:
    """Who may read which mailbox for now."""

    def __init__(self, count_max: int = TOKENS_MAX) -> None:
        self._devices = _Expiring[bytes](TOKEN_MS, count_max)

    def issue(self, device_id: bytes, now_ms: int) -> bytes:
        """A new token for one device's mailbox, 32 random bytes."""
        token = secrets.token_bytes(32)
        self._devices.put(sha256(token).digest(), device_id, now_ms)
        return token

    def device_of(self, token: bytes, now_ms: int) -> bytes:
        """The id of the device whose token this is. Raises SignatureError."""
        device_id = self._devices.get(sha256(token).digest(), now_ms)
        if device_id is None:
            raise SignatureError("no such token: it expired, or never was", code="token-unknown")
        return device_id
