"""Carries what the witness says to its peers, and asks the provider for what it wants to know.

Knows nothing of what is said. A frame goes over a gossip link to its peer where there is one; otherwise, sealed as a
message, through the provider, which cannot read it, and may drop it like any other. Nobody keeps it waiting: each link
has an outbox of its own, and each question to the provider a task of its own.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import trio

from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.gossip import CONTENT_FRAMES, ViewFrame, encode_gossip, parse_gossip
from noise.protocol.log_pages import EpochStatements, Inclusion
from noise.protocol.sealing import PAYLOAD_BODY_BYTES_MAX
from noise_client.changed import Changed
from noise_client.errors import LinkError
from noise_client.gossip_link import GossipLink
from noise_client.log_watch import LogLookup, Lookup, NoteLookup
from noise_client.provider_http import ProviderHttp
from noise_client.trust_store import StoreCalls
from noise_client.witness import Witness

_AUDITED_MAX = 8
_VIEW_INTERVAL_S = 5.0

_OUTBOX_FRAMES_MAX = 128
"""Frames that wait for one link. More is said at once to nobody who reads."""

_LOOKUP_S = 10.0
"""As long as the witness waits before it asks about a peer again: of two answers the later one counts."""

_LOOKUPS_MAX = 64
_LOOKUPS_AT_ONCE = 4

_CANNOT_SHOW = frozenset({"bad-query", "not-committed"})
"""Refusals of a consistency proof that say that there is none; all others say nothing about the log."""


class _Outbox(NamedTuple):
    frames: trio.MemorySendChannel[bytes]
    link_scope: trio.CancelScope


class Courier:
    """`in_band(peer, frame)` queues an encoded frame as a sealed message, or raises NoiseError; None: messages are not
    sealed.

    `on_carried` is called after the witness was heard, answered or asked.
    """

    def __init__(
        self,
        calls: StoreCalls,
        witness: Callable[[], Witness | None],
        in_band: Callable[[bytes, bytes], None] | None,
        on_carried: Callable[[], None],
    ) -> None:
        self.changed = Changed()
        """The witness may have something to say."""
        self._calls = calls
        self._witness = witness
        self._in_band = in_band
        self._on_carried = on_carried
        self._links: dict[bytes, _Outbox] = {}
        self._lookup_places = trio.CapacityLimiter(_LOOKUPS_AT_ONCE)

    @property
    def peers(self) -> list[bytes]:
        """Those with whom there is a link."""
        return list(self._links)

    async def run(self, http: ProviderHttp) -> None:
        """For ever."""
        async with trio.open_nursery() as lookups:
            while True:
                changed = self.changed.next()
                await self._carry(http, lookups)
                self._on_carried()
                await changed.wait()

    async def run_links(self) -> None:
        """Tell everybody with whom there is a link how we stand, now and then, and ask again what was not answered."""
        while True:
            await trio.sleep(_VIEW_INTERVAL_S)
            for peer in self.peers:
                await self.greet(peer)
            witness = self._witness()
            if witness is not None:
                for peer, frame in await self._calls.run(witness.questions):
                    self._send_link(peer, encode_gossip(frame))

    async def greet(self, peer: bytes) -> None:
        """Send our view to a peer over its link."""
        witness = self._witness()
        if witness is not None:
            self._send_link(peer, encode_gossip(ViewFrame(await self._calls.run(witness.view, peer))))

    async def tell_proofs(self, peer: bytes) -> None:
        """Send a peer over its link what convicts the provider: when it was found, there may have been no link."""
        witness = self._witness()
        if witness is not None:
            for frame in await self._calls.run(witness.proof_frames):
                self._send_link(peer, encode_gossip(frame))

    async def run_link(self, link: GossipLink) -> None:
        """Speak with a peer until the link ends, the peer says what no honest peer says or does not read what we say,
        or there is a newer link with it."""
        outbox, frames = trio.open_memory_channel[bytes](_OUTBOX_FRAMES_MAX)
        async with trio.open_nursery() as nursery:
            self._end_link(link.peer)
            ours = self._links[link.peer] = _Outbox(outbox, nursery.cancel_scope)
            nursery.start_soon(_send_all, link, frames, nursery.cancel_scope)
            try:
                with suppress(NoiseError):
                    await self.greet(link.peer)
                    await self.tell_proofs(link.peer)
                    while True:
                        await self.receive(link.peer, await link.receive())
            finally:
                if self._links.get(link.peer) is ours:
                    self._end_link(link.peer)

    def _end_link(self, peer: bytes) -> None:
        ended = self._links.pop(peer, None)
        if ended is not None:
            ended.link_scope.cancel()

    async def _carry(self, http: ProviderHttp, lookups: trio.Nursery) -> None:
        witness = self._witness()
        while witness is not None:
            outgoing = await self._calls.run(witness.take_outgoing)
            wanted = await self._calls.run(witness.take_lookups)
            for peer, frame in outgoing:
                self._send(peer, encode_gossip(frame))
            for lookup in wanted:
                if len(lookups.child_tasks) < _LOOKUPS_MAX:  # what is not asked now is asked after a later view
                    lookups.start_soon(self._look_up, witness, http, lookup)
            if not outgoing:
                return

    def _send(self, peer: bytes, encoded: bytes) -> None:
        if peer in self._links:
            self._send_link(peer, encoded)
        elif self._in_band is not None and len(encoded) <= PAYLOAD_BODY_BYTES_MAX:
            with suppress(NoiseError):  # the queue is full, or the client at its end: the next comparison asks again
                self._in_band(peer, encoded)

    def _send_link(self, peer: bytes, encoded: bytes) -> None:
        if peer in self._links:
            try:
                self._links[peer].frames.send_nowait(encoded)
            except trio.WouldBlock:
                self._end_link(peer)

    async def receive(self, peer: bytes, encoded: bytes) -> None:
        """A frame that came over a link. Raises NoiseError for what no honest peer sends."""
        frame = parse_gossip(encoded, CONTENT_FRAMES)
        witness = self._witness()
        if witness is not None:
            await self._calls.run(witness.hear, peer, frame)
            self.changed.notify()

    async def _look_up(self, witness: Witness, http: ProviderHttp, lookup: Lookup) -> None:
        """Ask the provider. That it does not answer shows nothing; that it answers something else does."""
        async with self._lookup_places:
            with trio.move_on_after(_LOOKUP_S), suppress(NoiseError):
                if isinstance(lookup, LogLookup):
                    await self._look_up_log(witness, http, lookup)
                else:
                    await self._look_up_note(witness, http, lookup)
        self.changed.notify()

    async def _look_up_log(self, witness: Witness, http: ProviderHttp, lookup: LogLookup) -> None:
        size = lookup.checkpoint.size
        proof: tuple[bytes, ...] = ()
        try:
            proof = await http.consistency(size, lookup.size)
        except Rejected as refused:
            if refused.code not in _CANNOT_SHOW:
                return
        # whoever answers at this address may be another provider by now, and tell the truth about its own log
        if (await http.challenge()).origin != witness.origin:
            return
        if not await self._calls.run(witness.hear_log, lookup, proof):
            statements, inclusion = await _record(http, size - 1, lookup.size)
            await self._calls.run(witness.hear_fork, lookup, statements, inclusion)

    async def _look_up_note(self, witness: Witness, http: ProviderHttp, lookup: NoteLookup) -> None:
        statements, inclusion = await _record(http, lookup.wanted - 1, lookup.wanted)
        proof = await http.consistency(lookup.wanted, lookup.size)
        await self._calls.run(witness.hear_note, lookup, statements, inclusion, proof)

    async def audit_log(self, http: ProviderHttp) -> None:
        """Compare the log that the provider has now with every record of it that we can open: it may have gone back."""
        witness = self._witness()
        if witness is None:
            return
        for opening in (await self._calls.run(witness.openings))[:_AUDITED_MAX]:
            try:
                statements, inclusion = await _record(http, opening.place, opening.place + 1)
            except NoiseError:
                continue
            await self._calls.run(witness.hear_record, opening.place, statements, inclusion)


async def _send_all(link: GossipLink, frames: trio.MemoryReceiveChannel[bytes], scope: trio.CancelScope) -> None:
    """Until the link does not take one: then nothing more may be said over it."""
    with suppress(LinkError):
        async for frame in frames:
            await link.send(frame)
    scope.cancel()


async def _record(http: ProviderHttp, epoch: int, size: int) -> tuple[EpochStatements, Inclusion]:
    return await http.statements(epoch), await http.inclusion(epoch, size)
