"""A mailbox's past, asked for again: only the one that was shown before is taken."""

import httpx
import pytest
import trio

from noise.protocol.delta import DELTA
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.evidence.material import Material
from noise.protocol.frames import CHALLENGE, SESSION, ChallengeFrame, Cursor, Session
from noise.protocol.merkle import EMPTY_RANGE, CompactRange, leaf_hashes
from noise.protocol.trust import NOTHING, Trusted
from noise_client.provider_http import ProviderHttp
from noise_client.reproducing import reproduce
from tests.client.witnesses import Keeper
from tests.protocol.liar import Liar
from tests.protocol.story import letter
from tests.vectors.cast import ORIGIN

ANSWERS = {
    "/v1/challenges": CHALLENGE.encode(ChallengeFrame(ORIGIN, bytes(32), 1, 1)),
    "/v1/sessions": SESSION.encode(Session(bytes(32), 1)),
}
N_EPOCHS = 6


class Face(httpx.AsyncBaseTransport):
    """What a liar shows over HTTP to one device, two records at a time."""

    def __init__(self, liar: Liar, mailbox: bytes) -> None:
        self._liar = liar
        self._mailbox = mailbox

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        content = ANSWERS.get(request.url.path)
        if content is None:
            cursor = Cursor(**{name: int(value) for name, value in request.url.params.items()})
            content = DELTA.encode(self._liar.delta(self._mailbox, cursor, records_max=2))
        return httpx.Response(200, stream=httpx.ByteStream(content))


def story(*, changed: int = -1, n_epochs: int = N_EPOCHS) -> Liar:
    """Every epoch brings alice a message. `changed`: in this epoch another one."""
    liar = Liar()
    for number in range(n_epochs):
        liar.commit(letter("bob", 1 + number, b"fork" if number == changed else b"true"))
    return liar


def base_of(alice: Keeper, size: int) -> CompactRange:
    """What is left of the first records when they are forgotten."""
    base = EMPTY_RANGE
    for hashed in leaf_hashes(alice.store.records(0)[:size]):
        base = base.append(hashed)
    return base


async def ask(alice: Keeper, liar: Liar, base: CompactRange, trusted: Trusted, epoch: int = 1) -> Material:
    with trio.fail_after(10):
        async with httpx.AsyncClient(base_url="http://provider.example", transport=Face(liar, alice.id)) as http:
            return await reproduce(ProviderHttp(http), alice.device, ORIGIN, "provider", base, trusted, epoch)


@pytest.mark.parametrize("n_later", [0, 1, 3])
async def test_the_same_past_is_taken_however_it_went_on(n_later: int) -> None:
    alice = Keeper("alice").follow(story())
    material = await ask(alice, story(n_epochs=N_EPOCHS + n_later), base_of(alice, 3), alice.follower.trusted)
    assert list(material.records[:N_EPOCHS]) == list(alice.store.records(0))
    assert len(material.records) == N_EPOCHS + n_later
    assert list(material.leaves_of(1)) == list(alice.store.leaves(1)) != []
    assert not material.leaves_of(2)


@pytest.mark.parametrize("n_later", [0, 1, 3])
@pytest.mark.parametrize("changed", range(N_EPOCHS))
async def test_another_past_is_refused_wherever_it_begins(changed: int, n_later: int) -> None:
    """Behind the base, or between it and what we trusted last; in a log of the same size, or in a longer one."""
    alice = Keeper("alice").follow(story())
    with pytest.raises(ProviderMisbehaved) as refused:
        fork = story(changed=changed, n_epochs=N_EPOCHS + n_later)
        await ask(alice, fork, base_of(alice, 3), alice.follower.trusted)
    assert refused.value.code == "bad-history"


@pytest.mark.parametrize("changed", range(3))
async def test_what_is_forgotten_counts_by_itself(changed: int) -> None:
    alice = Keeper("alice").follow(story())
    with pytest.raises(ProviderMisbehaved) as refused:
        await ask(alice, story(changed=changed), base_of(alice, 3), NOTHING)
    assert refused.value.code == "bad-history"


@pytest.mark.parametrize("n_epochs", range(1, N_EPOCHS))
async def test_less_than_was_shown_before_is_refused(n_epochs: int) -> None:
    alice = Keeper("alice").follow(story())
    with pytest.raises(ProviderMisbehaved) as refused:
        await ask(alice, story(n_epochs=n_epochs), base_of(alice, 3), alice.follower.trusted)
    assert refused.value.code == "bad-history"


async def test_another_log_with_the_same_records_is_refused() -> None:
    """What nobody wrote to us is in the log, too."""
    quiet, loud = story(n_epochs=2), story(n_epochs=2)
    quiet.commit()
    loud.commit(letter("bob", 90, b"for carol", to=("bob", "carol")))
    alice = Keeper("alice").follow(quiet)
    assert (await ask(alice, quiet, EMPTY_RANGE, NOTHING)).trusted == alice.follower.trusted
    with pytest.raises(ProviderMisbehaved) as refused:
        await ask(alice, loud, EMPTY_RANGE, alice.follower.trusted)
    assert refused.value.code == "bad-history"
