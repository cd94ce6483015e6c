"""What a client does about its provider besides sending and receiving: keys to seal with, gossip, verdict, complaints.

Knows nothing of the connection to the provider. The thinking is `noise_client.witness`; here are the tasks around it.
"""

import ssl
from contextlib import suppress

import trio

from noise.protocol import delta
from noise.protocol.envelope import Bundle
from noise.protocol.errors import NoiseError
from noise.protocol.frames import Receipt
from noise.protocol.sealing import PAYLOAD_GOSSIP
from noise.protocol.statements import ROSTER
from noise.protocol.trust import Trusted
from noise_client import gossip_link
from noise_client.backoff import Backoff
from noise_client.changed import Changed
from noise_client.complaining import Complaining
from noise_client.courier import Courier
from noise_client.device import Device
from noise_client.errors import LinkError
from noise_client.prekeys import OwnPrekeys, now_ms
from noise_client.provider_http import ProviderHttp
from noise_client.receiving import Incoming
from noise_client.sealer import Opened, Sealer
from noise_client.sending import Outgoing
from noise_client.settings import Settings
from noise_client.states import ChangeLog
from noise_client.trust_store import Seal, StoreCalls, TrustStore
from noise_client.verdicts import FINE, Judgement, Reason, Verdict
from noise_client.witness import LOG_BEHIND, Witness

_STALENESS_CHECK_S = 1.0
_AUDIT_S = 5.0


class Watching:
    """Made before `incoming` and `outgoing`, which are set when they are there. `verdicts`: every judgement."""

    incoming: Incoming
    outgoing: Outgoing

    def __init__(self, device: Device, store: TrustStore, calls: StoreCalls, settings: Settings) -> None:
        self.verdicts: ChangeLog[Judgement] = ChangeLog(FINE)
        self.keys = OwnPrekeys(device, store, calls)
        self.sealer = Sealer(device, store, self.keys, self.http, self._gossip_for)
        self.courier = Courier(calls, self._get_witness, self._send_in_band if settings.seal else None, self.publish)
        self.complaining = Complaining(
            calls, self._get_witness, self.http, self.courier.changed, self.note_change, settings.backoff_first_s
        )
        self._device = device
        self._store = store
        self._calls = calls
        self._settings = settings
        self._http: ProviderHttp | None = None
        self._nursery: trio.Nursery | None = None
        self._is_running = Changed()

    def http(self) -> ProviderHttp:
        """Raises LinkError before `run` has begun."""
        if self._http is None:
            raise LinkError("not running yet", code="unreachable")
        return self._http

    def _get_witness(self) -> Witness | None:
        return self.incoming.witness

    def witness(self) -> Witness:
        """Raises NoiseError before the first verified delta."""
        witness = self._get_witness()
        if witness is None:
            raise NoiseError("no provider was ever verified: connect first", code="no-provider")
        return witness

    # Called where the store's calls run

    def make_witness(self, origin: bytes, trusted: Trusted) -> Witness:
        """A witness for the provider that was just pinned."""
        return Witness(self._store, self._device.device_id, origin, trusted, self._settings.retention, time_ms=now_ms)

    def open_sealed(self, origin: bytes, delivery: delta.Delivery) -> Opened:
        """What a delivery says; as it is, when this client does not seal."""
        return self.sealer.open(origin, delivery) if self._settings.seal else Opened(Seal.NONE, 0, delivery.common)

    def note_sent(self) -> None:
        """A bundle leaves."""
        witness = self._get_witness()
        if witness is not None:
            witness.note_sent()

    def note_refused_bundle(self) -> None:
        """The provider did not take it."""
        witness = self._get_witness()
        if witness is not None:
            witness.note_refused_bundle()

    def note_receipt(self, bundle: Bundle, receipt: Receipt) -> None:
        """The provider owes us our own copy of these messages."""
        witness = self._get_witness()
        if witness is not None:
            witness.note_receipt(bundle, receipt)

    def _gossip_for(self, peer: bytes) -> bytes:
        witness = self._get_witness()
        return witness.encoded_view(peer) if witness is not None else b""

    # Tasks

    def _send_in_band(self, peer: bytes, encoded: bytes) -> None:
        self.outgoing.put_nowait([peer], encoded, PAYLOAD_GOSSIP)

    def publish(self) -> None:
        """Let everybody see the judgement as it is now."""
        witness = self._get_witness()
        if witness is not None:
            self.verdicts.enter(witness.judgement)

    def note_change(self) -> None:
        """The witness was handed something: a step, a receipt, a frame."""
        self.publish()
        self.courier.changed.notify()

    async def run(self, http: ProviderHttp) -> None:
        """Until cancelled, also when the client has failed: peers may still ask."""
        self._http = http
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._is_running.notify()
            nursery.start_soon(self.courier.run, http)
            nursery.start_soon(self.courier.run_links)
            if self._settings.complains:
                nursery.start_soon(self.complaining.run)

    async def run_connected(self) -> None:
        """While the client has not failed: keep the provider supplied with keys, and notice when it is stale."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_staleness)
            if self._settings.seal:
                nursery.start_soon(self._supply_keys)

    async def _supply_keys(self) -> None:
        while self.incoming.witness is None:
            await self.incoming.changed.wait()
        await self.keys.run(self.incoming.witness.origin, self.http(), lambda: self.incoming.is_synced)

    async def _watch_staleness(self) -> None:
        is_stale = False
        while True:
            await trio.sleep(_STALENESS_CHECK_S)
            witness, follower = self._get_witness(), self.incoming.follower
            if witness is None or follower is None or not follower.trusted.rosters:
                continue
            parameters = ROSTER.decode(follower.trusted.rosters[-1].body).parameters
            limit_s = max(self._settings.stale_after_s, 2 * (parameters.heartbeat_ms + parameters.idle_ms) / 1000)
            age_s = trio.current_time() - self.incoming.grown_at
            if (age_s > limit_s) != is_stale:
                is_stale = not is_stale
                detail = f"no newer epoch than {follower.trusted.log.size - 1} was verified for {age_s:.0f} s"
                await self._calls.run(witness.set_stale, Reason("no-new-epoch", detail) if is_stale else None)
                self.note_change()

    async def note_log_behind(self, detail: str) -> bool:
        """The provider says that it knows less than we have verified. Whether it can be convicted of that by now."""
        witness = self._get_witness()
        if witness is None:
            return False
        await self._calls.run(witness.suspect, LOG_BEHIND, LOG_BEHIND, detail)
        return await self.audit()

    async def audit(self) -> bool:
        """Compare the provider's public log with what we hold of it. Whether a proof is kept."""
        with trio.move_on_after(_AUDIT_S), suppress(NoiseError):
            await self.courier.audit_log(self.http())
        self.note_change()
        return self.verdicts.value.verdict is Verdict.EXPOSED

    # Gossip links

    async def serve(self, host: str, port: int, ssl_context: ssl.SSLContext | None) -> int:
        """Serve gossip links from now on; the port."""
        nursery = await self._running()
        port = await nursery.start(
            gossip_link.serve,
            host,
            port,
            self._device,
            lambda: self.incoming.origin,
            self.courier.run_link,
            ssl_context,
        )
        return int(port)

    async def dial(self, url: str, ssl_context: ssl.SSLContext | None) -> bytes:
        """Keep a link to a peer from now on; the peer's device id, once it is there."""
        gossip_link.parse_peer_url(url)
        nursery = await self._running()
        return bytes(await nursery.start(self._keep_dialing, url, ssl_context))

    async def _running(self) -> trio.Nursery:
        while self._nursery is None:
            await self._is_running.wait()
        return self._nursery

    async def _keep_dialing(
        self, url: str, ssl_context: ssl.SSLContext | None, task_status: "trio.TaskStatus[bytes]"
    ) -> None:
        backoff = Backoff(self._settings.backoff_first_s, self._settings.backoff_max_s)
        peer = b""
        while True:
            while peer in self.courier.peers:  # it has dialed us, and another link would end that one
                await trio.sleep(backoff.next_s())
            while self.incoming.origin is None:
                await self.incoming.changed.wait()
            begun = trio.current_time()
            with suppress(NoiseError):
                async with gossip_link.dial(url, self._device, self.incoming.origin, ssl_context) as link:
                    if not peer:
                        task_status.started(link.peer)
                    peer = link.peer
                    await self.courier.run_link(link)
            if trio.current_time() - begun > self._settings.backoff_max_s:
                backoff.reset()  # it was a link; one that breaks at once is none
            await trio.sleep(backoff.next_s())
