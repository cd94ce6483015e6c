"""One connection's conversation: prove who we are, follow, acknowledge, send bundles, notice silence.

Knows nothing of reconnecting, and nothing of how a link moves bytes. It ends when the link does, or when something goes
wrong for good; whoever started it decides what comes next.
"""

import math
import secrets
from collections.abc import Awaitable, Callable

import trio

from noise.protocol.delta import Delta, RecipientLists
from noise.protocol.errors import DecodeError, NoiseError, Rejected
from noise.protocol.follower import Follower
from noise.protocol.frames import (
    PURPOSE_PUSH,
    AuthFrame,
    BundleFrame,
    ChallengeFrame,
    DeltaFrame,
    PingFrame,
    PongFrame,
    ReceiptFrame,
    RefusalFrame,
)
from noise_client.backoff import Backoff
from noise_client.changed import Changed
from noise_client.device import Device
from noise_client.errors import LinkError
from noise_client.link import Link
from noise_client.receiving import Incoming
from noise_client.sending import RETRIED_CODES, Outgoing
from noise_client.settings import Settings
from noise_client.states import ChangeLog, ClientState

_REQUESTS = 2**32


class Connection:
    """`was_live`: whether it caught up with the mailbox at any time."""

    def __init__(
        self,
        link: Link,
        device: Device,
        incoming: Incoming,
        outgoing: Outgoing,
        states: ChangeLog[ClientState],
        settings: Settings,
    ) -> None:
        self.was_live = False
        self._link = link
        self._device = device
        self._incoming = incoming
        self._outgoing = outgoing
        self._states = states
        self._settings = settings
        self._lists = RecipientLists()
        self._has_roster = trio.Event()
        self._answers_send, self._answers = trio.open_memory_channel[ReceiptFrame | RefusalFrame](1)
        self._pinged = Changed()
        self._ping_token: bytes | None = None
        self._error: NoiseError | None = None

    async def converse(self, audience: str) -> None:
        """Returns when the provider should be asked again at once. `audience`: our name for it in HTTP.

        Raises LinkError, ProviderMisbehaved or TrustStoreError; of several, the one that matters most.
        """
        follower = await self._authenticate(audience)
        self._states.enter(ClientState.SYNCING)
        async with trio.open_nursery() as nursery:

            async def guarded(task: Callable[[Follower], Awaitable[None]]) -> None:
                try:
                    await task(follower)
                except NoiseError as error:
                    if self._error is None or (isinstance(self._error, LinkError) > isinstance(error, LinkError)):
                        self._error = error
                finally:
                    nursery.cancel_scope.cancel()

            for task in (
                self._receive,
                self._send_bundles,
                self._acknowledge,
                self._pong,
                self._watch,
                self._wait_half,
            ):
                nursery.start_soon(guarded, task)
        if self._error is not None:
            raise self._error

    async def _authenticate(self, audience: str) -> Follower:
        challenge = await self._receive_challenge()
        follower = self._incoming.follow(challenge.origin)
        proof = self._device.answer(challenge, audience, PURPOSE_PUSH)
        await self._link.send(AuthFrame(proof, follower.cursor))
        return follower

    async def _receive_challenge(self) -> ChallengeFrame:
        try:
            with trio.fail_after(self._settings.connect_timeout_s):
                frame = await self._link.receive()
        except trio.TooSlowError:
            raise LinkError("the provider says nothing", code="link-silent") from None
        if not isinstance(frame, ChallengeFrame):
            raise DecodeError("a provider speaks first, and challenges us", code="out-of-turn")
        return frame

    async def _receive(self, follower: Follower) -> None:
        """Take frames as they come; never wait for anything else, or both ends could wait for each other."""
        while True:
            frame = await self._link.receive()
            if isinstance(frame, DeltaFrame):
                if not await self._on_delta(follower, frame.delta):
                    return
            elif isinstance(frame, ReceiptFrame | RefusalFrame):
                try:
                    self._answers_send.send_nowait(frame)
                except trio.WouldBlock:
                    raise LinkError("the provider answers what was not asked", code="out-of-turn") from None
            elif isinstance(frame, PingFrame):
                self._ping_token = frame.token
                self._pinged.notify()

    async def _on_delta(self, follower: Follower, delta: Delta) -> bool:
        """Whether deltas can go on coming.

        While the backlog is full they are left out, and none after such a one can be verified: a new connection must
        bring them again. They cannot be left out when they bring rosters, which receipts are verified against.
        """
        incoming = self._incoming
        if incoming.is_lagging:
            return not delta.rosters
        if incoming.is_full and follower.rosters and not delta.rosters:
            incoming.is_lagging = True
            self._states.enter(ClientState.SYNCING)
        else:
            is_synced = await incoming.accept(follower, delta, self._lists)
            self.was_live = self.was_live or is_synced
            self._states.enter(ClientState.LIVE if is_synced else ClientState.SYNCING)
        self._has_roster.set()
        return True

    async def _wait_half(self, _: Follower) -> None:
        """Until the application has taken half of a backlog that was full."""
        while not (self._incoming.is_lagging and self._incoming.is_half_empty):
            await self._incoming.changed.wait()

    async def _send_bundles(self, follower: Follower) -> None:
        """One bundle after the other, each as often as it takes."""
        await self._has_roster.wait()
        backoff = Backoff(self._settings.backoff_first_s, self._settings.backoff_max_s)
        request = 0
        while True:
            try:
                bundle = await self._outgoing.next_bundle(follower)
            except LinkError:  # the keys to seal it cannot be had now
                await trio.sleep(backoff.next_s())
                continue
            request = (request + 1) % _REQUESTS
            await self._link.send(BundleFrame(request, bundle.encode()))
            answer = await self._receive_answer(request)
            if isinstance(answer, ReceiptFrame):
                await self._outgoing.accept(follower, bundle, answer.receipt)
                backoff.reset()
            elif answer.code in RETRIED_CODES:
                await trio.sleep(backoff.next_s())
            else:
                await self._outgoing.refuse(bundle, Rejected(answer.detail, code=answer.code))

    async def _receive_answer(self, request: int) -> ReceiptFrame | RefusalFrame:
        try:
            with trio.fail_after(self._settings.answer_timeout_s):
                answer = await self._answers.receive()
        except trio.TooSlowError:
            raise LinkError("the provider does not answer a bundle", code="link-stuck") from None
        if answer.request != request:
            raise LinkError("the provider answers what was not asked", code="out-of-turn")
        return answer

    async def _acknowledge(self, follower: Follower) -> None:
        """Acknowledge what was taken when the application pauses, and now and then while it does not."""
        incoming = self._incoming
        try:
            while True:
                while not incoming.owes_ack:
                    await incoming.changed.wait()
                with trio.move_on_after(self._settings.ack_interval_s):
                    taken_before = -1
                    while incoming.taken_count != taken_before:
                        taken_before = incoming.taken_count
                        await trio.sleep(self._settings.ack_quiet_s)
                await incoming.acknowledge(follower, self._link.send)
        except trio.Cancelled:
            with trio.CancelScope(shield=True), trio.move_on_after(self._settings.close_timeout_s):
                if incoming.owes_ack:
                    await incoming.acknowledge(follower, self._link.send)
            raise

    async def _pong(self, _: Follower) -> None:
        while True:
            while self._ping_token is None:
                await self._pinged.wait()
            token, self._ping_token = self._ping_token, None
            await self._link.send(PongFrame(token))

    async def _watch(self, _: Follower) -> None:
        """Ask whether the provider is there when either side has been quiet; give up when it stays silent."""
        ping_after_s, silence_max_s = self._settings.ping_after_s, self._settings.silence_max_s
        pinged_at = -math.inf
        while True:
            silent_s, unsent_s = self._link.quiet_s
            if silent_s >= silence_max_s:
                raise LinkError("the provider has fallen silent", code="link-silent")
            quiet_s = min(max(silent_s, unsent_s), trio.current_time() - pinged_at)
            if quiet_s >= ping_after_s:
                pinged_at = trio.current_time()
                await self._link.send(PingFrame(secrets.token_bytes(16)))
            else:
                await trio.sleep(min(ping_after_s - quiet_s, silence_max_s - silent_s))
