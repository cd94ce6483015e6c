"""Two clients over a gossip link of their own: what they find out together, and how such a link ends and begins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from noise.protocol.errors import NoiseError
from noise.protocol.gossip import ProofFrame, ViewFrame, encode_gossip, parse_gossip
from noise_client import Client, LinkError, courier, open_client
from noise_client.gossip_link import dial, parse_peer_url
from noise_client.verdicts import Verdict
from tests.client.devices import NOBODY, QUICK
from tests.client.gossip_peer import CAROL, Bob, claim, serving_bob
from tests.client.scripted import in_time
from tests.client.test_link import make_certificate
from tests.client.witnesses import Keeper, chat, omit
from tests.vectors.cast import ORIGIN


@pytest.fixture(autouse=True)
def greet_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said, is said when a link begins, or in answer: nothing waits for the next regular view."""
    monkeypatch.setattr(courier, "_VIEW_INTERVAL_S", 1000)


@asynccontextmanager
async def client_of(keeper: Keeper) -> AsyncIterator[Client]:
    """A client with what a device has verified; its provider is not there any more."""
    async with open_client(NOBODY, keeper.device, store=keeper.store, settings=QUICK) as client:
        yield client


async def wait_exposed(client: Client) -> None:
    async for judgement in client.verdicts():
        if judgement.verdict is Verdict.EXPOSED:
            return


def liars_couple() -> tuple[Keeper, Keeper]:
    """alice and bob, whose provider has kept the last message from him."""
    liar = chat(4)
    omit(liar, "bob")
    return Keeper("alice").follow(liar), Keeper("bob").follow(liar)


@in_time
async def test_two_clients_expose_a_liar_that_is_gone() -> None:
    """The provider carries nothing of it: there is none."""
    one, other = liars_couple()
    async with client_of(one) as alice, client_of(other) as bob:
        port = await bob.serve_gossip("127.0.0.1")
        assert await alice.gossip_with(f"ws://127.0.0.1:{port}") == bob.device_id
        for client in (alice, bob):
            await wait_exposed(client)
    assert (one.kinds, other.kinds) == (["Omission"], ["Omission"])


@in_time
async def test_two_clients_of_an_honest_provider_find_nothing() -> None:
    liar = chat(4)
    one, other = Keeper("alice").follow(liar), Keeper("bob").follow(liar)
    async with client_of(one) as alice, client_of(other) as bob:
        port = await bob.serve_gossip("127.0.0.1")
        await alice.gossip_with(f"ws://127.0.0.1:{port}")
        while not (one.store.pair(other.id) and other.store.pair(one.id)):
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert {alice.verdict.verdict, bob.verdict.verdict} == {Verdict.OK}
    assert (one.kinds, other.kinds) == ([], [])


@in_time
async def test_tls_between_clients(tmp_path: Path) -> None:
    server_context, trusting = make_certificate(tmp_path)
    one, other = liars_couple()
    async with client_of(one) as alice, client_of(other) as bob:
        port = await bob.serve_gossip("127.0.0.1", ssl_context=server_context)
        await alice.gossip_with(f"wss://127.0.0.1:{port}", ssl_context=trusting)
        await wait_exposed(alice)


@in_time
async def test_a_link_is_made_again_when_the_peer_comes_back() -> None:
    one, _ = liars_couple()
    bob = Bob()
    async with client_of(one) as alice:
        async with serving_bob(bob=bob) as (_, url):
            await alice.gossip_with(url)
            await bob.wait(lambda: bool(bob.heard))
        heard = len(bob.heard)
        while alice._watching.courier.peers:
            await trio.testing.wait_all_tasks_blocked(0.01)
        async with serving_bob(bob=bob, port=parse_peer_url(url)[1]):
            await bob.wait(lambda: bob.peers == [one.id, one.id] and len(bob.heard) > heard)
    assert isinstance(parse_gossip(bob.heard[heard]), ViewFrame), "and the peer is greeted again"


@in_time
async def test_nonsense_of_one_peer_is_its_own_end() -> None:
    """carol's link ends with her first bad word; bob still hears from alice."""
    one, other = liars_couple()
    async with client_of(one) as alice, client_of(other) as bob:
        url = f"ws://127.0.0.1:{await alice.serve_gossip('127.0.0.1')}"
        for junk in (b"\xff", encode_gossip(ProofFrame(b"junk")), claim(CAROL.device_id)):
            async with dial(url, CAROL, ORIGIN, None) as carol:
                await carol.send(junk)
                with pytest.raises(LinkError):
                    while True:
                        await carol.receive()
        await bob.gossip_with(url)
        await wait_exposed(alice)
        assert alice.failure is None


@in_time
async def test_a_client_ends_while_links_are_open() -> None:
    """What the block raises comes out as it is, and a cancellation stays with who cancelled."""
    one, other = liars_couple()
    async with client_of(other) as bob:
        url = f"ws://127.0.0.1:{await bob.serve_gossip('127.0.0.1')}"
        for how in ("leave", "raise", "cancel"):
            with trio.CancelScope() as scope:
                try:
                    async with client_of(one) as alice:
                        await alice.gossip_with(url)
                        await alice.serve_gossip("127.0.0.1")
                        if how == "raise":
                            raise KeyError("as the test says")
                        if how == "cancel":
                            scope.cancel()
                            await trio.sleep_forever()
                except KeyError as error:
                    assert (how, error.__context__) == ("raise", None)
            assert scope.cancelled_caught is (how == "cancel")
        assert bob.failure is None


@in_time
async def test_a_port_that_is_taken_is_told() -> None:
    one, other = liars_couple()
    async with client_of(one) as alice, client_of(other) as bob:
        port = await alice.serve_gossip("127.0.0.1")
        with pytest.raises(LinkError) as taken:
            await bob.serve_gossip("127.0.0.1", port)
        assert taken.value.code == "port-unusable"
        assert bob.failure is None
        with pytest.raises(NoiseError) as late:
            await bob.gossip_with("ws://127.0.0.1:9", deadline_s=0.05)
        assert late.value.code == "deadline"
