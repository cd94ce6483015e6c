"""Prekeys on both sides: ours, made and published ahead of need, and those of the peers that we seal for.

Knows nothing of messages. A provider can withhold a key, but not swap one: each is signed by its device. A one-time
key is used once; a sender asks for another one of a peer at most every ONE_TIME_INTERVAL_S, and between them takes the
peer's fallback, which changes every FALLBACK_PERIOD_MS.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import pairwise

import trio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.prekeys import (
    FALLBACK,
    ONE_TIME,
    Prekey,
    PrekeyCount,
    PrekeyUpload,
    number_of,
    open_offer,
    prekey_id_of,
    sign_prekey,
)
from noise_client.device import Device
from noise_client.errors import LinkError
from noise_client.evidence_store import PrivatePrekey
from noise_client.provider_http import ProviderHttp
from noise_client.trust_store import StoreCalls, TrustStore

ONE_TIME_STOCK = 64
"""One-time keys that the provider should hold of us; topped up when half of them are gone."""

_DAY_MS = 86_400_000

PUBLIC_LIFE_MS = {ONE_TIME: 89 * _DAY_MS, FALLBACK: 28 * _DAY_MS}
"""For so long others may seal for a key, and the device may be away. A fallback opens all that was ever sealed for it:
it ends sooner."""

FALLBACK_PERIOD_MS = 7 * _DAY_MS
"""A device that is there publishes a new fallback so often."""

KEPT_MS = 14 * _DAY_MS
"""The private half of a key is kept for so long after its last use: what was sealed for it may still be under way."""

_ONE_TIME_MAX = 16 * ONE_TIME_STOCK
"""One-time keys of which we keep the private half, whatever the provider, or those who ask it, say of the others."""

_NUMBER_MAX = 1 << 62
"""No honest provider has seen so many of our prekeys."""

ONE_TIME_INTERVAL_S = 60.0
_OFFER_LIFE_S = 3600.0
_CHECK_INTERVAL_S = 600
_LOOK_INTERVAL_S = 60
_RETRY_S = 5.0
_PEERS_REMEMBERED_MAX = 4096
_ASKED_AT_ONCE = 8
REFUSED_CODES = frozenset({"no-prekeys", "wrong-key", "bad-key", "bad-signature", "malformed", "wrong-origin"})


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class OwnPrekeys:
    """Keeps the provider supplied. `published`: once it has, at least once."""

    def __init__(self, device: Device, store: TrustStore, calls: StoreCalls) -> None:
        self._device = device
        self._store = store
        self._calls = calls
        self.published = trio.Event()

    def own_fallback(self) -> PrivatePrekey:
        """The key that our own copies are sealed for: made at once if there is none. Calls the store."""
        kept = self._store.prekeys(FALLBACK)
        return kept[-1] if kept else self._make(1, 0, is_fallback_due=True)[0]

    async def run(self, origin: bytes, http: ProviderHttp, is_synced: Callable[[], bool]) -> None:
        """Top up, now and whenever that is due, for ever. What fails is tried again.

        `is_synced`: whether everything that was ever sealed for us has come, but for what is under way.
        """
        while True:
            try:
                await self._top_up(origin, http)
                self.published.set()
                if is_synced():
                    await self._calls.run(self._forget_old)
            except (LinkError, Rejected):
                await trio.sleep(_RETRY_S)
            else:
                await self._wait()

    async def _wait(self) -> None:
        """Until the next check: sooner once more than half of a stock was used to seal what has come."""
        for _ in range(_CHECK_INTERVAL_S // _LOOK_INTERVAL_S):
            await trio.sleep(_LOOK_INTERVAL_S)
            if len(await self._calls.run(self._store.prekeys, ONE_TIME)) < ONE_TIME_STOCK // 2:
                return

    async def _top_up(self, origin: bytes, http: ProviderHttp) -> None:
        count = await http.prekey_count(self._device.device_id)
        upload = await self._calls.run(self._missing, origin, count)
        if upload.prekeys:
            await http.post_prekeys(upload)

    def _missing(self, origin: bytes, count: PrekeyCount) -> PrekeyUpload:
        """What the provider lacks, its private halves stored first. What it has not taken is offered again."""
        missing = ONE_TIME_STOCK - count.one_time if count.one_time <= ONE_TIME_STOCK // 2 else 0
        now = now_ms()
        fresh_ms = now - FALLBACK_PERIOD_MS
        is_fallback_due = count.fallback_not_after_ms < fresh_ms + PUBLIC_LIFE_MS[FALLBACK]
        # a key of the future was made while our clock was ahead: the provider takes none that lives so long
        one_time, fallbacks = (
            [k for k in self._store.prekeys(kind) if k.prekey_id > count.last_id and fresh_ms <= k.made_ms <= now]
            for kind in (ONE_TIME, FALLBACK)
        )
        again = one_time[:missing] + (fallbacks[-1:] if is_fallback_due else [])
        n_new = missing - len(one_time[:missing])
        n_new = min(n_new, max(0, _ONE_TIME_MAX - len(self._store.prekeys(ONE_TIME))))
        made = self._make(number_of(count.last_id) + 1, n_new, is_fallback_due=is_fallback_due and not fallbacks)
        offered = sorted(again + made)  # by id, as they have to be
        signer = self._device.signer
        return PrekeyUpload(
            tuple(
                sign_prekey(signer, origin, k.prekey_id, k.kind, public_of(k.private_key), public_end_ms(k))
                for k in offered
            )
        )

    def _make(self, first_number: int, n_one_time: int, *, is_fallback_due: bool) -> list[PrivatePrekey]:
        """New keys with ids that neither we nor the provider have seen."""
        number = number_of(self._store.last_prekey_id()) + 1
        if number <= first_number < _NUMBER_MAX:
            number = first_number
        kinds = [FALLBACK] * is_fallback_due + [ONE_TIME] * n_one_time
        made = [
            PrivatePrekey(prekey_id_of(number + i), kind, secrets.token_bytes(32), now_ms())
            for i, kind in enumerate(kinds)
        ]
        if made:
            self._store.save_prekeys(made)
        return made

    def _forget_old(self) -> None:
        """Keys for which nobody seals any more, as all that was sealed for them has come. We ourselves seal our own
        copies for the newest fallback, however old it is."""
        end_ms = now_ms() - KEPT_MS
        old = [
            k for k, after in pairwise(self._store.prekeys(FALLBACK)) if max(public_end_ms(k), after.made_ms) < end_ms
        ]
        old += [k for k in self._store.prekeys(ONE_TIME) if public_end_ms(k) < end_ms]
        if old:
            self._store.drop_prekeys([kept.prekey_id for kept in old])


class _Stock:
    """What we know of one peer's keys. `one_time`: not used yet."""

    __slots__ = ("asked_at", "fallback", "one_time")

    def __init__(self, one_time: Prekey | None, fallback: Prekey | None, asked_at: float) -> None:
        self.one_time = one_time
        self.fallback = fallback
        self.asked_at = asked_at


class PeerPrekeys:
    """The keys of those whom we seal for."""

    def __init__(self) -> None:
        self._stocks: OrderedDict[bytes, _Stock] = OrderedDict()

    async def prepare(self, origin: bytes, peers: Iterable[bytes], http: ProviderHttp) -> dict[bytes, NoiseError]:
        """Have keys for these peers, or say why not: a key is withheld, or is not one that the peer signed.

        Raises LinkError when the provider cannot be asked.
        """
        problems: dict[bytes, NoiseError] = {}
        wanted = []
        for peer in peers:
            if peer in self._stocks:
                self._stocks.move_to_end(peer)  # or it could be forgotten before it is used
            if self._is_due(peer):
                wanted.append(peer)
        limit = trio.CapacityLimiter(_ASKED_AT_ONCE)
        unreachable: list[LinkError] = []

        async def ask(peer: bytes) -> None:
            async with limit:
                try:
                    offer = await http.prekey(peer)
                    one_time, fallback = open_offer(offer, origin, peer, now_ms())
                    if one_time is None and fallback is None:
                        raise Rejected("the provider offers only expired keys", code="no-prekeys")
                    self._keep(peer, _Stock(one_time, fallback, trio.current_time()))
                except LinkError as error:
                    unreachable.append(error)
                except NoiseError as error:
                    if error.code not in REFUSED_CODES:
                        unreachable.append(LinkError(error.detail, code=error.code))
                    elif not self._has_fallback(peer):
                        problems[peer] = error

        async with trio.open_nursery() as nursery:
            for peer in wanted:
                nursery.start_soon(ask, peer)
        unreachable = [error for error in unreachable if not all(self._has_fallback(peer) for peer in wanted)]
        if unreachable:
            raise unreachable[0]
        return problems

    def choose(self, peer: bytes) -> Prekey:
        """A key for one message to a peer that `prepare` has prepared."""
        stock = self._stocks[peer]
        prekey = stock.one_time or stock.fallback
        if prekey is None:
            raise Rejected("no prekey is left for a recipient: send again", code="no-prekeys")
        stock.one_time = None
        return prekey

    def _is_due(self, peer: bytes) -> bool:
        """Whether to ask: we have nothing to use, or could have another one-time key by now."""
        stock = self._stocks.get(peer)
        if stock is None or not self._has_fallback(peer):
            return stock is None or stock.one_time is None
        age_s = trio.current_time() - stock.asked_at
        return age_s >= _OFFER_LIFE_S or (stock.one_time is None and age_s >= ONE_TIME_INTERVAL_S)

    def _has_fallback(self, peer: bytes) -> bool:
        stock = self._stocks.get(peer)
        return stock is not None and stock.fallback is not None and stock.fallback.not_after_ms > now_ms()

    def _keep(self, peer: bytes, stock: _Stock) -> None:
        self._stocks[peer] = stock
        self._stocks.move_to_end(peer)
        if len(self._stocks) > _PEERS_REMEMBERED_MAX:
            self._stocks.popitem(last=False)


def public_end_ms(kept: PrivatePrekey) -> int:
    """After this nobody seals for a key of ours: its signature says so."""
    return kept.made_ms + PUBLIC_LIFE_MS[kept.kind]


def public_of(private_key: bytes) -> bytes:
    """The public half of an X25519 key."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()
