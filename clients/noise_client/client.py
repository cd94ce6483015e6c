"""A device's client: what an application sends and receives, whatever happens to the connection meanwhile.

Knows nothing of frames, proofs or SQL. `open_client` is the SDK's front door:

    async with open_client("http://127.0.0.1:8080", "alice.device") as client:
        receipt = await client.send([bob], b"hello")
        async for delivery in client.deliveries():
            print(delivery.sender, delivery.data)
"""

import math
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.evidence.blame import Blame
from noise.protocol.evidence.material import EvidenceUnavailable
from noise.protocol.evidence.testimony import TESTIMONY, testify
from noise.protocol.identifiers import parse_id, parse_seq
from noise.protocol.push_session import CloseCode
from noise.protocol.sealing import PAYLOAD_DATA
from noise_client.backoff import Backoff
from noise_client.connection import Connection
from noise_client.device import Device
from noise_client.errors import ClientClosed, LinkError, TrustStoreError, deadline, lone_exception, raise_alone
from noise_client.evidence_store import KeptProof
from noise_client.link import Address, open_link, parse_url
from noise_client.provider_http import open_http
from noise_client.receiving import Incoming
from noise_client.reproducing import reproduce
from noise_client.sending import Outgoing, Receipt, Sending
from noise_client.settings import DEFAULT_SETTINGS, Settings
from noise_client.states import ChangeLog, ClientState
from noise_client.trust_store import Delivery, Kept, Offence, StoreCalls, TrustStore
from noise_client.trust_store_memory import MemoryTrustStore
from noise_client.trust_store_sqlite import SqliteTrustStore
from noise_client.verdicts import Judgement
from noise_client.watching import Watching


class Client:
    """Made by `open_client`, and of no use after it.

    Every call that waits has a deadline, in seconds, and raises DeadlineExceeded after it; `math.inf` is none. When
    the client has failed, every call raises the NoiseError that it failed with: ProviderMisbehaved above all.
    """

    def __init__(
        self,
        address: Address,
        store: TrustStore,
        calls: StoreCalls,
        kept: Kept,
        *,
        origin: bytes | None,
        ssl_context: ssl.SSLContext | None,
        settings: Settings,
    ) -> None:
        if None not in (origin, kept.origin) and origin != kept.origin:
            raise TrustStoreError("this device trusts another provider already: make a new one", code="wrong-origin")
        self._address = address
        self._store = store
        self._calls = calls
        self._device = Device(kept.private_key)
        self._ssl_context = ssl_context
        self._settings = settings
        self._states = ChangeLog(ClientState.CONNECTING)
        self._kind = PAYLOAD_DATA if settings.seal else 0
        self._watching = watching = Watching(self._device, store, calls, settings)
        self._incoming = watching.incoming = Incoming(
            self._device,
            store,
            calls,
            kept,
            origin=kept.origin or origin,
            backlog_bytes_max=settings.backlog_bytes_max,
            open_sealed=watching.open_sealed,
            make_witness=watching.make_witness,
            on_heard=watching.note_change,
        )
        self._outgoing = watching.outgoing = Outgoing(
            self._device,
            store,
            calls,
            kept,
            settings.queue_bytes_max,
            watching.sealer,
            watching,
            settings.keys_wait_s,
        )
        watching.publish()
        self._failure: NoiseError | None = None
        self.last_problem: LinkError | None = None
        """Why the last connection ended, or could not be made, for a person to read."""

    @property
    def device_id(self) -> bytes:
        return self._device.device_id

    @property
    def origin(self) -> bytes | None:
        """The provider's id: pinned, or None before the first verified delta."""
        return self._incoming.origin

    @property
    def failure(self) -> NoiseError | None:
        """What ended the client, if anything did."""
        return self._failure

    @property
    def state(self) -> ClientState:
        return self._states.value

    def states(self) -> AsyncIterator[ClientState]:
        """The present state and then each later one, none left out; ends after CLOSED."""
        return self._states.watch()

    async def wait_state(self, *wanted: ClientState, deadline_s: float = 30.0) -> ClientState:
        """Until the client is in one of these states, or passes through it; which one.

        Raises what ended the client when it closes without reaching one of them.
        """
        with deadline(deadline_s, f"the client was not {' or '.join(state.value for state in wanted)}"):
            async for state in self.states():
                if state in wanted:
                    return state
        raise self._failure or ClientClosed("the client is closed")

    async def send(self, recipients: Iterable[bytes | str], data: bytes, *, deadline_s: float = 30.0) -> Receipt:
        """Send a message, and wait for the provider's verified receipt.

        `recipients`: device ids, as 32 bytes or as text; our own is added. After DeadlineExceeded, or when the caller
        is cancelled, the message stays in the durable queue and is sent all the same.
        Raises Rejected when the message is refused, here or by the provider.
        """
        with deadline(deadline_s, "no receipt came; a message that was queued stays in the queue:"):
            sending = await self._outgoing.put(recipients, data, self._kind)
            return await sending.wait_receipt(deadline_s=math.inf)

    async def enqueue(self, recipients: Iterable[bytes | str], data: bytes, *, deadline_s: float = 30.0) -> Sending:
        """Queue a message, and wait until it is durable: it is sent, if not now then when the device is opened next."""
        with deadline(deadline_s, "the message was not stored"):
            sending = await self._outgoing.put(recipients, data, self._kind)
            await sending.wait_stored(deadline_s=math.inf)
            return sending

    async def send_soon(self, recipients: Iterable[bytes | str], data: bytes, *, deadline_s: float = 30.0) -> Sending:
        """Queue a message, to become durable soon. Waits only while the queue is full: for many, in this order."""
        with deadline(deadline_s, "the queue stayed full"):
            return await self._outgoing.put(recipients, data, self._kind)

    def unsent(self) -> list[Sending]:
        """The messages without an answer, oldest first: also those that an earlier process left in the queue."""
        return self._outgoing.unsent()

    def deliveries(self, *, deadline_s: float = math.inf) -> AsyncIterator[Delivery]:
        """Verified messages in the provider's order, each once, for one task at a time. `deadline_s`: for each.

        A delivery is taken, and will not come again, when the next one is asked for, or when `open_client` is left
        without an exception. Whatever was not taken comes again when the device is opened next.
        """
        return _Deliveries(self._incoming, deadline_s)

    @property
    def verdict(self) -> Judgement:
        """What we make of the provider now, and why."""
        return self._watching.verdicts.value

    def verdicts(self) -> AsyncIterator[Judgement]:
        """The present verdict and then each later one, none left out; ends when the client is closed."""
        return self._watching.verdicts.watch()

    async def wait_settled(self, *, deadline_s: float = 30.0) -> None:
        """Until the provider has honoured every receipt: our own copies have come as they say; or was proven not to."""
        with deadline(deadline_s, "not every receipt was honoured"):
            while self._failure is None and self._incoming.witness is not None:
                if self._incoming.witness.is_settled:
                    return
                await self._watching.courier.changed.wait()

    async def proofs(self) -> list[KeptProof]:
        """Proofs of misbehaviour, each a file that `noise verify` convicts by: ours, and those that peers brought."""
        return await self._calls.run(self._store.proofs)

    async def complain(self, proof: bytes, *, deadline_s: float = 60.0) -> Blame:
        """Send the provider a proof that convicts it, and ask all actors who had to do with it: which of them lied.

        Of kind "Unresponsive": an actor does not say, and was challenged in the provider's log; complain again after
        its deadline. What names an actor is kept among `proofs`, and peers are told. Unless Settings say otherwise,
        the client complains by itself. Raises DecodeError or NotProven for what convicts nobody; LinkError or Rejected
        when the provider does not take it.
        """
        with deadline(deadline_s, "the provider's actors did not answer"):
            return await self._watching.complaining.complain(proof)

    async def serve_gossip(self, host: str, port: int = 0, *, ssl_context: ssl.SSLContext | None = None) -> int:
        """Let peers dial us, for as long as the client is open; the port. `ssl_context`: to serve wss.

        Raises LinkError when the port cannot be had.
        """
        return await self._watching.serve(host, port, ssl_context)

    async def gossip_with(
        self, peer_url: str, *, ssl_context: ssl.SSLContext | None = None, deadline_s: float = 30.0
    ) -> bytes:
        """Keep a link to a peer at `ws://HOST:PORT`, which the provider does not carry; the peer's device id.

        The link is made again whenever it breaks. Raises NoiseError "bad-url", DeadlineExceeded while there is none.
        """
        with deadline(deadline_s, f"no gossip link to {peer_url}"):
            return await self._watching.dial(peer_url, ssl_context)

    async def testify(self, seq: bytes, peer: bytes) -> bytes:
        """What the provider signed about a message of ours and `peer`'s: an encoded `Testimony`, to show to anybody.

        What was forgotten, the provider is asked to produce again. Raises EvidenceUnavailable, with the reason as its
        code; LinkError or Rejected when the provider does not produce it, ProviderMisbehaved when it is not what it
        was.
        """
        witness = self._watching.witness()
        try:
            return TESTIMONY.encode(await self._calls.run(witness.testify, seq, peer))
        except EvidenceUnavailable as error:
            if error.code != "evidence-dropped":
                raise
        base = await self._calls.run(self._store.base)
        audience, epoch = self._address.host_header, parse_seq(seq)[0]
        material = await reproduce(
            self._watching.http(), self._device, witness.origin, audience, base, witness.trusted, epoch
        )
        return TESTIMONY.encode(testify(material, seq, peer))

    async def export_view(self, peer: bytes | None = None) -> bytes:
        """What the provider showed us, signed, as a file: for one peer to compare with its own, or for everybody.

        Raises NoiseError "no-provider" before the first verified delta.
        """
        return await self._calls.run(self._watching.witness().export, self._device, peer)

    async def import_view(self, data: bytes) -> bytes:
        """Compare a peer's file with what we were shown; the peer's device id. The verdict may change.

        Raises NoiseError for what is no view of this provider, or not for us.
        """
        try:
            return await self._calls.run(self._watching.witness().hear_exported, data)
        finally:
            self._watching.note_change()

    async def offences(self) -> list[Offence]:
        """What the provider did that an honest one never does, with the offending bytes: also to earlier processes."""
        return await self._calls.run(self._store.offences)

    async def run(self) -> None:
        """Until cancelled. When something has failed for good, only gossip goes on. For `open_client` only."""
        timeout_s = self._settings.answer_timeout_s
        async with open_http(self._address, self._ssl_context, timeout_s) as http, trio.open_nursery() as nursery:
            nursery.start_soon(self._watching.run, http)
            async with trio.open_nursery() as connected:
                connected.start_soon(self._guard_storing, connected.cancel_scope)
                connected.start_soon(self._watching.run_connected)
                try:
                    await self._keep_connected()
                except NoiseError as error:
                    await self._fail(error)
                connected.cancel_scope.cancel()

    async def _guard_storing(self, scope: trio.CancelScope) -> None:
        try:
            await self._outgoing.run_storing()
        except NoiseError as error:
            await self._fail(error)
            scope.cancel()

    async def _keep_connected(self) -> None:
        settings = self._settings
        backoff = Backoff(settings.backoff_first_s, settings.backoff_max_s)
        while True:
            self._states.enter(ClientState.CONNECTING)
            connection: Connection | None = None
            try:
                async with open_link(self._address, settings, self._ssl_context) as link:
                    connection = Connection(link, self._device, self._incoming, self._outgoing, self._states, settings)
                    await connection.converse(self._address.host_header)
                continue
            except LinkError as error:
                if error.close_code == CloseCode.CURSOR_AHEAD:
                    if await self._watching.note_log_behind(error.detail):
                        raise ProviderMisbehaved("the provider's log went back", code="log-fork") from error
                elif error.is_final:
                    raise
                self.last_problem = error
            if connection is not None and connection.was_live and self.last_problem.close_code != CloseCode.REPLACED:
                backoff.reset()
            self._states.enter(ClientState.BACKOFF)
            await trio.sleep(backoff.next_s())

    async def _fail(self, error: NoiseError) -> None:
        if isinstance(error, ProviderMisbehaved):
            offence = Offence(time.time_ns() // 1_000_000, error.code, error.detail, error.evidence)
            try:
                with trio.CancelScope(shield=True):
                    await self._calls.run(self._store.save_offence, offence)
            except TrustStoreError as failed:
                error.add_note(f"the evidence could not be stored: {failed}")
            await self._watching.audit()
        self._failure = error
        self._end(error)

    def _end(self, error: NoiseError) -> None:
        self._incoming.fail(error)
        self._outgoing.fail(error)
        self._states.enter(ClientState.CLOSED)
        self._states.end()

    async def take_last(self) -> None:
        """The application ended well: it has taken what it was given last. For `open_client` only."""
        await self._incoming.take_last()

    async def close(self) -> None:
        """Store what is not stored yet, and end. For `open_client` only, when `run` has ended."""
        self._watching.verdicts.end()
        if self._failure is None:
            try:
                await self._outgoing.store_new()
            finally:
                self._end(ClientClosed("the client was closed; what is queued is sent when the device is opened again"))


class _Deliveries(AsyncIterator[Delivery]):
    def __init__(self, incoming: Incoming, deadline_s: float) -> None:
        self._incoming = incoming
        self._deadline_s = deadline_s

    async def __anext__(self) -> Delivery:
        return await self._incoming.next(self._deadline_s)


@asynccontextmanager
async def open_client(
    url: str,
    device: Device | str | os.PathLike[str],
    *,
    store: TrustStore | None = None,
    origin: bytes | str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    settings: Settings = DEFAULT_SETTINGS,
) -> AsyncIterator[Client]:
    """Follow a device's mailbox at a provider, and send for it, until the block ends. Does not wait for a connection.

    `device`: the path of a device file, which is its own store; or a Device, with a `store` that was made for it and
    that the caller closes, or without: then in memory. `origin`: the provider's id, as 32 bytes or as text; without
    it, the first provider that proves itself is pinned. `ssl_context`: for https, else the system's certificates.

    Raises NoiseError "bad-url", TrustStoreError "device-missing", "device-locked", "wrong-device", "wrong-origin".
    What the block raises comes out as it is, in no group.
    """
    address = parse_url(url)
    pinned = parse_id(origin) if isinstance(origin, str) else origin
    async with _open_store(device, store) as opened:
        calls = StoreCalls(opened)
        kept = await calls.run(opened.load)
        if isinstance(device, Device) and device.private_key != kept.private_key:
            raise TrustStoreError("the store was made for another device", code="wrong-device")
        client = Client(address, opened, calls, kept, origin=pinned, ssl_context=ssl_context, settings=settings)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.run)
                yield client
                await client.take_last()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            error = lone_exception(group)
            if error is None:
                raise
            raise_alone(error)
        finally:
            with trio.CancelScope(shield=True):
                await client.close()


@asynccontextmanager
async def _open_store(device: Device | str | os.PathLike[str], store: TrustStore | None) -> AsyncIterator[TrustStore]:
    if isinstance(device, Device):
        yield store or MemoryTrustStore(device)
        return
    if store is not None:
        raise TypeError("a device file is its own store: leave `store` out, or give a Device")
    opened = await trio.to_thread.run_sync(SqliteTrustStore, device)
    try:
        yield opened
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(opened.close)
