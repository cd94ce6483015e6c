"""Our peers' prekeys, from a desk that hands them out as a provider does, withholds them, or lies."""

import pytest
import trio
import trio.testing

from noise.protocol.errors import Rejected
from noise.protocol.prekeys import (
    SMALL_ORDER_PUBLICS,
    PrekeyOffer,
    SignedPrekey,
    number_of,
    prekey_id_of,
    sign_prekey,
)
from noise_client import LinkError
from noise_client.prekeys import ONE_TIME_INTERVAL_S, PeerPrekeys, now_ms, public_of
from tests.client.people import http_of
from tests.client.prekey_desk import FALLBACK, FAR_MS, ONE_TIME, PrekeyDesk, prekey_of
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, device_of, filler, signer_of

BOB, CAROL = device_of("bob"), device_of("carol")


def public(n: int) -> bytes:
    return public_of(filler(f"private {n}", 32))


def fallback(name: str = "bob", number: int = 100) -> SignedPrekey:
    return prekey_of(name, number, FALLBACK, public(number))


def one_time(number: int, name: str = "bob") -> SignedPrekey:
    return prekey_of(name, number, ONE_TIME, public(number))


async def prepare(peers: PeerPrekeys, desk: PrekeyDesk | None, *devices: bytes) -> dict[bytes, str]:
    """The codes of the problems."""
    problems = await peers.prepare(ORIGIN, devices or [BOB], http_of(desk))
    return {peer: error.code for peer, error in problems.items()}


def chosen(peers: PeerPrekeys, peer: bytes = BOB) -> int:
    return number_of(peers.choose(peer).prekey_id)


async def test_a_one_time_key_is_used_once_and_the_fallback_between(autojump_clock: trio.testing.MockClock) -> None:
    desk, peers = PrekeyDesk(), PeerPrekeys()
    desk.add([one_time(1), one_time(2), fallback()])
    used = []
    for _ in range(2):
        for _ in range(3):
            assert await prepare(peers, desk) == {}
            used.append(chosen(peers))
        await trio.sleep(ONE_TIME_INTERVAL_S)
    assert used == [1, 100, 100, 2, 100, 100]
    assert desk.times_asked(BOB) == 2
    await prepare(peers, desk)
    assert chosen(peers) == 100, "there is no other one-time key left"


async def test_a_key_that_was_not_used_is_kept_and_asked_for_again_in_an_hour(
    autojump_clock: trio.testing.MockClock,
) -> None:
    desk, peers = PrekeyDesk(), PeerPrekeys()
    desk.add([one_time(1), one_time(2), fallback()])
    await prepare(peers, desk)
    await trio.sleep(3500)
    await prepare(peers, desk)
    assert desk.times_asked(BOB) == 1
    desk.fallback[BOB] = fallback(number=101)
    await trio.sleep(200)
    await prepare(peers, desk)
    assert desk.times_asked(BOB) == 2
    chosen(peers)
    assert chosen(peers) == 101, "a fallback is changed, and the old one is forgotten some day"


async def test_without_a_fallback_there_is_a_key_for_one_message_and_then_none() -> None:
    desk, peers = PrekeyDesk(), PeerPrekeys()
    desk.add([one_time(1), one_time(2)])
    with trio.fail_after(10):
        assert await prepare(peers, desk) == {}
        assert await prepare(peers, desk) == {}
        assert (chosen(peers), desk.times_asked(BOB)) == (1, 1)
        with pytest.raises(Rejected) as refused:
            peers.choose(BOB)
        assert refused.value.code == "no-prekeys"
        assert await prepare(peers, desk) == {}
        assert chosen(peers) == 2
        assert await prepare(peers, desk) == {BOB: "no-prekeys"}


def forged(kind: int, *, origin: bytes = ORIGIN, signer: str = "bob", key: bytes = b"") -> SignedPrekey:
    return sign_prekey(signer_of(signer), origin, prekey_id_of(7), kind, key or public(7), FAR_MS)


BAD_OFFERS = {
    "swapped for another device's": (PrekeyOffer(forged(ONE_TIME, signer="carol"), None), "wrong-key"),
    "swapped fallback": (PrekeyOffer(one_time(1), forged(FALLBACK, signer="carol")), "wrong-key"),
    "of another provider": (PrekeyOffer(None, forged(FALLBACK, origin=OTHER_ORIGIN)), "wrong-origin"),
    "of small order": (PrekeyOffer(forged(ONE_TIME, key=min(SMALL_ORDER_PUBLICS)), fallback()), "bad-key"),
    "altered": (PrekeyOffer(None, SignedPrekey(fallback().body, bytes(64))), "bad-signature"),
    "in the other's place": (PrekeyOffer(fallback(), None), "malformed"),
    "expired": (PrekeyOffer(prekey_of("bob", 1, ONE_TIME, public(1), now_ms() - 1), None), "no-prekeys"),
    "both expired": (
        PrekeyOffer(
            prekey_of("bob", 1, ONE_TIME, public(1), now_ms() - 1),
            prekey_of("bob", 2, FALLBACK, public(2), now_ms() - 1),
        ),
        "no-prekeys",
    ),
    "withheld": (PrekeyOffer(None, None), "no-prekeys"),
}


class Offering(PrekeyDesk):
    """A desk that offers what it was told to for bob, and what it has for others."""

    def __init__(self, offer: PrekeyOffer) -> None:
        super().__init__()
        self.offer = offer

    def take(self, device_id: bytes) -> PrekeyOffer:
        return self.offer if device_id == BOB else super().take(device_id)


@pytest.mark.parametrize("name", BAD_OFFERS)
async def test_a_key_that_the_peer_did_not_sign_for_this_is_refused(name: str) -> None:
    offer, code = BAD_OFFERS[name]
    desk, peers = Offering(offer), PeerPrekeys()
    desk.add([fallback("carol")])
    with trio.fail_after(10):
        assert await prepare(peers, desk, BOB, CAROL) == {BOB: code}
        assert chosen(peers, CAROL) == 100
        assert await prepare(peers, desk, BOB, CAROL) == {BOB: code}, "nothing of it is kept"
        desk.offer = PrekeyOffer(None, fallback())
        assert await prepare(peers, desk, BOB, CAROL) == {}
        assert chosen(peers) == 100


async def test_an_expired_one_time_key_leaves_the_fallback() -> None:
    expired = prekey_of("bob", 1, ONE_TIME, public(1), now_ms() - 1)
    desk, peers = Offering(PrekeyOffer(expired, fallback())), PeerPrekeys()
    with trio.fail_after(10):
        assert await prepare(peers, desk) == {}
        assert chosen(peers) == 100


@pytest.mark.parametrize("name", BAD_OFFERS)
async def test_a_fallback_that_is_known_serves_while_others_are_withheld(
    autojump_clock: trio.testing.MockClock, name: str
) -> None:
    desk, peers = Offering(PrekeyOffer(one_time(1), fallback())), PeerPrekeys()
    await prepare(peers, desk)
    chosen(peers)
    desk.offer = BAD_OFFERS[name][0]
    await trio.sleep(ONE_TIME_INTERVAL_S)
    assert await prepare(peers, desk) == {}
    assert (chosen(peers), desk.times_asked(BOB)) == (100, 2)


async def test_a_fallback_that_has_expired_does_not_serve() -> None:
    desk, peers, end_ms = PrekeyDesk(), PeerPrekeys(), now_ms() + 150
    desk.add([prekey_of("bob", 1, FALLBACK, public(1), end_ms)])
    with trio.fail_after(10):
        assert await prepare(peers, desk) == {}
        chosen(peers)
        while now_ms() <= end_ms:
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert await prepare(peers, desk) == {BOB: "no-prekeys"}


@pytest.mark.parametrize("is_down", [True, False])
async def test_a_provider_that_does_not_answer_is_no_refusal(
    autojump_clock: trio.testing.MockClock, is_down: bool
) -> None:
    desk, peers = PrekeyDesk(), PeerPrekeys()
    desk.add([one_time(1), fallback()])
    desk.refuses = "unavailable"
    with pytest.raises(LinkError):
        await prepare(peers, None if is_down else desk)
    desk.refuses = ""
    await prepare(peers, desk)
    chosen(peers)
    await trio.sleep(ONE_TIME_INTERVAL_S)
    desk.refuses = "unavailable"
    assert await prepare(peers, None if is_down else desk) == {}, "the fallback is known"
    assert chosen(peers) == 100
    with pytest.raises(LinkError):
        await prepare(peers, None if is_down else desk, BOB, CAROL)


async def test_peers_are_remembered_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noise_client.prekeys._PEERS_REMEMBERED_MAX", 4)
    desk, peers = PrekeyDesk(), PeerPrekeys()
    names = [f"peer {n}" for n in range(6)]
    for name in names:
        desk.add([fallback(name)])
    devices = [device_of(name) for name in names]
    with trio.fail_after(10):
        for device in (*devices[:4], devices[0], devices[4]):
            await prepare(peers, desk, device)
        await prepare(peers, desk, devices[5], devices[0])
        assert [desk.times_asked(device) for device in devices] == [1] * 6
        assert [chosen(peers, device) for device in (devices[0], devices[5], devices[4])] == [100] * 3
        await prepare(peers, desk, devices[1])
        assert desk.times_asked(devices[1]) == 2
