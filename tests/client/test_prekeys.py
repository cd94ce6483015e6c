"""Our prekeys, against a desk that takes and hands them out as a provider does, refuses them, or lies."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from noise.protocol.limits import PREKEY_LIFE_MS
from noise.protocol.prekeys import (
    NO_PREKEY_ID,
    PREKEY,
    Prekey,
    PrekeyCount,
    SignedPrekey,
    number_of,
    prekey_id_of,
)
from noise_client import Device, SqliteTrustStore, create_device_file
from noise_client.evidence_store import Gained, PrivatePrekey
from noise_client.prekeys import (
    FALLBACK_PERIOD_MS,
    KEPT_MS,
    ONE_TIME_STOCK,
    PUBLIC_LIFE_MS,
    now_ms,
    public_of,
)
from tests.client.kept import gain
from tests.client.people import Person
from tests.client.prekey_desk import FALLBACK, ONE_TIME, PrekeyDesk, prekey_of
from tests.vectors.cast import ORIGIN, device_of, filler, seed_of

DAY_MS = 86_400_000
ALICE = device_of("alice")


class Checking(PrekeyDesk):
    """A desk that looks whether a device could open what is sealed for its keys, before it takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.person = Person("alice", self)
        self.lie: PrekeyCount | None = None
        self.refuses_uploads = False
        self.n_uploads = 0

    def add(self, signed: Sequence[SignedPrekey]) -> bytes:
        n_seen = len(self.seen)
        device_id = super().add(signed)
        for prekey in self.seen[n_seen:]:
            kept = self.person.store.prekey(prekey.prekey_id)
            assert kept is not None, "published before it was kept"
            assert (public_of(kept.private_key), kept.kind) == (prekey.public, prekey.kind)
        return device_id

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if method == "POST":
            self.n_uploads += 1
            if self.refuses_uploads:
                return 429, b'{"code":"devices-full","detail":"as the test says"}'
        return super().answer(method, path, body)

    def count(self, device_id: bytes) -> PrekeyCount:
        return self.lie or super().count(device_id)

    def take_many(self, count: int) -> list[bytes]:
        """The ids of one-time keys that somebody got."""
        offers = [self.take(ALICE).one_time for _ in range(count)]
        return [opened(one).prekey_id for one in offers if one is not None]


def opened(signed: SignedPrekey) -> Prekey:
    prekey: Prekey = PREKEY.decode(signed.body)
    return prekey


def keys_of(desk: PrekeyDesk, kind: int) -> list[Prekey]:
    """All that were ever uploaded, each once."""
    return list(dict.fromkeys(prekey for prekey in desk.seen if prekey.kind == kind))


async def test_a_new_device_publishes_a_stock_and_a_fallback() -> None:
    desk = Checking()
    with trio.fail_after(10):
        await desk.person.publish()
    one_time, [fallback] = keys_of(desk, ONE_TIME), keys_of(desk, FALLBACK)
    assert [number_of(one.prekey_id) for one in (fallback, *one_time)] == list(range(1, ONE_TIME_STOCK + 2))
    assert len({one.public for one in (fallback, *one_time)}) == ONE_TIME_STOCK + 1
    lives_ms = {kind: {one.not_after_ms - now_ms() for one in keys_of(desk, kind)} for kind in (ONE_TIME, FALLBACK)}
    for kind, days in ((ONE_TIME, 89), (FALLBACK, 28)):
        assert days * DAY_MS - 60_000 < min(lives_ms[kind]) <= max(lives_ms[kind]) <= days * DAY_MS


async def test_a_stock_is_topped_up_when_half_of_it_is_gone(autojump_clock: trio.testing.MockClock) -> None:
    desk = Checking()
    await desk.person.publish()
    desk.take_many(ONE_TIME_STOCK // 2 - 1)
    await desk.person.supply(2000)
    assert (desk.n_uploads, desk.count(ALICE).one_time) == (1, ONE_TIME_STOCK // 2 + 1)
    desk.take_many(1)
    await desk.person.supply(2000)
    assert (desk.n_uploads, desk.count(ALICE).one_time) == (2, ONE_TIME_STOCK)
    assert len(keys_of(desk, FALLBACK)) == 1
    ids = [number_of(one.prekey_id) for one in keys_of(desk, ONE_TIME)]
    assert ids == list(range(2, ONE_TIME_STOCK + ONE_TIME_STOCK // 2 + 2))


@pytest.mark.parametrize(("n_opened", "wait_s"), [(ONE_TIME_STOCK // 2, 600), (ONE_TIME_STOCK // 2 + 1, 60)])
async def test_supplying_goes_on_by_itself_and_sooner_when_many_keys_were_used(
    autojump_clock: trio.testing.MockClock, n_opened: int, wait_s: float
) -> None:
    """Taken keys are topped up every ten minutes, and within one when messages that used them have come."""
    desk = Checking()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.person.own.run, ORIGIN, desk.person.http, lambda: True)
        await desk.person.own.published.wait()
        for n in range(2):
            taken = desk.take_many(ONE_TIME_STOCK)
            unused = [key.prekey_id for key in desk.person.store.prekeys(ONE_TIME) if key.prekey_id not in taken]
            gain(desk.person.store, Gained(spent=unused + taken[:n_opened]), b"step %d" % n)
            await trio.sleep(wait_s - 1)
            assert desk.count(ALICE).one_time == 0
            await trio.sleep(2)
            assert desk.count(ALICE).one_time == ONE_TIME_STOCK
        nursery.cancel_scope.cancel()


async def test_a_fallback_changes_now_and_then_and_the_old_one_still_opens() -> None:
    desk = Checking()
    store, old_ms = desk.person.store, now_ms() - FALLBACK_PERIOD_MS - 60_000
    kept = PrivatePrekey(prekey_id_of(1), FALLBACK, filler("old", 32), old_ms)
    store.save_prekeys([kept])
    desk.add([prekey_of("alice", 1, FALLBACK, public_of(kept.private_key), old_ms + PUBLIC_LIFE_MS[FALLBACK])])
    with trio.fail_after(10):
        await desk.person.publish()
    fallbacks = keys_of(desk, FALLBACK)
    assert [number_of(one.prekey_id) for one in fallbacks] == [1, 2]
    assert opened(desk.fallback[ALICE]).prekey_id == prekey_id_of(2)
    assert store.prekeys(FALLBACK)[0] == kept
    assert desk.person.own.own_fallback() == store.prekeys(FALLBACK)[1]


@pytest.mark.parametrize("is_synced", [True, False])
async def test_old_keys_are_forgotten_when_all_that_was_sealed_for_them_has_come(
    autojump_clock: trio.testing.MockClock, is_synced: bool
) -> None:
    desk, now = Checking(), now_ms()
    ended_ms = {kind: now - KEPT_MS - PUBLIC_LIFE_MS[kind] for kind in (ONE_TIME, FALLBACK)}
    kept = [
        PrivatePrekey(prekey_id_of(n), kind, filler(f"key {n}", 32), made_ms)
        for n, kind, made_ms in [
            (1, FALLBACK, ended_ms[FALLBACK] - 8 * DAY_MS),
            (2, FALLBACK, ended_ms[FALLBACK] - DAY_MS),
            (3, FALLBACK, ended_ms[FALLBACK] + DAY_MS),
            (4, FALLBACK, now),
            (5, ONE_TIME, ended_ms[ONE_TIME] - DAY_MS),
            (6, ONE_TIME, ended_ms[ONE_TIME] + DAY_MS),
        ]
    ]
    desk.person.store.save_prekeys(kept)
    await desk.person.supply(1, is_synced=is_synced)
    left = [number_of(key.prekey_id) for kind in (FALLBACK, ONE_TIME) for key in desk.person.store.prekeys(kind)]
    expected = [3, 4, 6] if is_synced else [1, 2, 3, 4, 5, 6]
    assert [number for number in left if number <= 6] == expected
    assert number_of(desk.person.store.last_prekey_id()) == 6 + ONE_TIME_STOCK


async def test_a_fallback_opens_for_as_long_as_its_signature_invites_others_to_use_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A provider may go on handing out an old one, and a sender that was away may still have it."""
    desk, now = Checking(), now_ms()
    for n, made_ms in ((1, now - 27 * DAY_MS), (2, now - 20 * DAY_MS), (3, now - 13 * DAY_MS), (4, now - 6 * DAY_MS)):
        kept = PrivatePrekey(prekey_id_of(n), FALLBACK, filler(f"key {n}", 32), made_ms)
        desk.person.store.save_prekeys([kept])
    await desk.person.supply(1)
    assert desk.person.store.prekey(prekey_id_of(1)) is not None
    [uploaded] = keys_of(desk, FALLBACK)
    assert uploaded.not_after_ms == now - 6 * DAY_MS + 28 * DAY_MS


@pytest.mark.parametrize(("made_days", "is_kept"), [(1, True), (13, True), (15, False)])
async def test_the_fallback_of_our_own_copies_is_kept_after_a_long_absence(
    autojump_clock: trio.testing.MockClock, made_days: int, is_kept: bool
) -> None:
    """Nobody else could use it any more, but until the next one was made we did."""
    desk, now = Checking(), now_ms()
    made_ms = (now - 90 * DAY_MS, now - made_days * DAY_MS)
    keys = [PrivatePrekey(prekey_id_of(n), FALLBACK, filler(f"key {n}", 32), ms) for n, ms in enumerate(made_ms, 1)]
    desk.person.store.save_prekeys(keys[:1])
    assert desk.person.own.own_fallback() == keys[0]
    desk.person.store.save_prekeys(keys[1:])
    await desk.person.supply(1)
    assert (keys[0] in desk.person.store.prekeys(FALLBACK)) == is_kept
    assert keys[1] in desk.person.store.prekeys(FALLBACK)


async def test_our_own_copies_need_no_provider() -> None:
    desk = Checking()
    own = desk.person.own.own_fallback()
    assert own == desk.person.own.own_fallback()
    assert desk.asked == []
    with trio.fail_after(10):
        await desk.person.publish()
    assert keys_of(desk, FALLBACK)[0].prekey_id == own.prekey_id, "it serves the others as well"


@pytest.mark.parametrize("last", [0, 1, 40, 2**62 - 1, 2**62, 2**64 - 2, 2**64 - 1])
async def test_ids_are_never_used_again_whatever_the_provider_says_it_has(
    autojump_clock: trio.testing.MockClock, last: int
) -> None:
    desk = Checking()
    await desk.person.publish()
    for n in range(4):
        spent = desk.take_many(ONE_TIME_STOCK)
        gain(desk.person.store, Gained(spent=spent), b"step %d" % n)
        desk.last_id[ALICE] = NO_PREKEY_ID
        desk.lie = PrekeyCount(0, 0, last.to_bytes(8, "big"))
        await desk.person.supply(1)
        desk.lie = None
        assert desk.person.own.own_fallback().kind == FALLBACK
    publics: dict[bytes, set[bytes]] = {}
    for prekey in desk.seen:
        publics.setdefault(prekey.prekey_id, set()).add(prekey.public)
    assert {len(of_one_id) for of_one_id in publics.values()} == {1}
    assert len(keys_of(desk, ONE_TIME)) == 5 * ONE_TIME_STOCK
    assert number_of(desk.person.store.last_prekey_id()) < 2**63


async def test_ids_go_on_above_what_an_honest_provider_has_seen(autojump_clock: trio.testing.MockClock) -> None:
    """The device file was restored from a copy: what it made since would not be taken again."""
    desk = Checking()
    desk.last_id[ALICE] = prekey_id_of(1000)
    await desk.person.publish()
    assert number_of(desk.seen[0].prekey_id) == 1001
    assert desk.count(ALICE).one_time == ONE_TIME_STOCK


async def test_what_is_refused_for_long_is_offered_again_and_does_not_pile_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    desk = Checking()
    desk.refuses_uploads = True
    await desk.person.supply(600)
    assert desk.n_uploads > 50
    assert not desk.person.own.published.is_set()
    kept = [len(desk.person.store.prekeys(kind)) for kind in (ONE_TIME, FALLBACK)]
    assert kept == [ONE_TIME_STOCK, 1]
    desk.refuses_uploads = False
    await desk.person.publish()
    assert [number_of(prekey.prekey_id) for prekey in desk.seen] == list(range(1, ONE_TIME_STOCK + 2))


async def test_keys_of_a_clock_that_was_ahead_are_not_offered_when_it_is_right_again(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Checking()
    desk.refuses_uploads = True  # as the real one does: they end too late
    with monkeypatch.context() as ahead:
        ahead.setattr("noise_client.prekeys.now_ms", lambda: now_ms() + 3 * DAY_MS)
        await desk.person.supply(60)
    desk.refuses_uploads = False
    await desk.person.publish()
    assert (desk.count(ALICE).one_time, len(keys_of(desk, FALLBACK))) == (ONE_TIME_STOCK, 1)
    assert max(prekey.not_after_ms for prekey in desk.seen) <= now_ms() + PREKEY_LIFE_MS


async def test_an_answer_that_was_lost_costs_nothing(autojump_clock: trio.testing.MockClock) -> None:
    class Losing(Checking):
        def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
            status, content = super().answer(method, path, body)
            return (502, b"") if method == "POST" and self.n_uploads == 1 else (status, content)

    desk = Losing()
    await desk.person.publish()
    assert (desk.n_uploads, desk.count(ALICE).one_time, len(desk.seen)) == (1, ONE_TIME_STOCK, ONE_TIME_STOCK + 1)


async def test_a_provider_that_is_down_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    desk = Checking()
    desk.refuses = "unavailable"
    await desk.person.supply(60)
    assert 5 < len(desk.asked) < 20
    desk.refuses = ""
    await desk.person.publish()
    assert desk.count(ALICE).one_time == ONE_TIME_STOCK


async def test_prekeys_outlive_the_process(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    desk, path = PrekeyDesk(), tmp_path / "alice.device"
    create_device_file(path, Device(seed_of("alice")))
    seen = []
    for _ in range(2):
        store = SqliteTrustStore(path)
        await Person("alice", desk, store).publish()
        seen.append([store.prekey(prekey.prekey_id) is not None for prekey in desk.seen])
        store.close()
    assert seen == [[True] * (ONE_TIME_STOCK + 1)] * 2
