"""The push face: one session per WebSocket, from challenge to live deltas.

Knows nothing of how frames are made or what they prove. A reader task always runs, so that a disconnect is noticed; the
fanout writes live deltas straight to the socket; whoever cannot keep up is disconnected and resumes from its cursor.
"""

import secrets
from typing import Final

import trio

from noise.protocol.delta import RecipientLists
from noise.protocol.errors import DecodeError, NoiseError, Rejected, SignatureError
from noise.protocol.frames import (
    PURPOSE_PUSH,
    SUBPROTOCOL_BINARY,
    AckFrame,
    AuthFrame,
    BundleFrame,
    ChallengeFrame,
    Cursor,
    Frame,
    PingFrame,
    PongFrame,
    Receipt,
    ReceiptFrame,
    RefusalFrame,
    encode_frame_json,
    parse_frame,
)
from noise.protocol.limits import BUNDLE_BYTES_MAX
from noise.protocol.push_session import CloseCode, PushRole, PushSession
from noise.web.auth import check_auth
from noise.web.budget import Budget
from noise.web.gateway import Gateway
from noise.web.websocket import BUDGET_BYTES_MAX, Budgets, Refused, WebSocket, accept_websocket

_AUTH_BYTES_MAX: Final = 1 << 14
_AUTH_S: Final = 10.0
_IDLE_S: Final = 60.0
_IN_FLIGHT_MAX: Final = 64
_CONNECTIONS_PER_DEVICE: Final = 16
_JSON_FACTOR: Final = 3


class Ended(Exception):
    """A session ends with this close code and reason."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(reason)
        self.close_code = close_code
        self.reason = reason


class Connection:
    """An authenticated session: the fanout's Subscriber."""

    def __init__(self, websocket: WebSocket, session: PushSession, device_id: bytes, cursor: Cursor) -> None:
        self.device_id = device_id
        self.cursor = cursor
        self.lists = RecipientLists()
        self.scope = trio.CancelScope()
        self.ending: Ended | None = None
        self.in_flight = trio.Semaphore(_IN_FLIGHT_MAX)
        self.greeted = trio.Event()  # with a first delta, whose roster the client needs to judge receipts
        self._websocket = websocket
        self.session = session

    def push_nowait(self, frame: bytes) -> None:
        """An encoded delta frame, as bytes or as the readable twin of them."""
        if self.session.binary:
            self._websocket.send_nowait(frame)
            return
        try:
            self._websocket.send_nowait(encode_frame_json(parse_frame(frame)))
        except NoiseError as error:  # a frame that is too large to be shown
            self.end(CloseCode.UNAVAILABLE, f"{error.code}: {error.detail}")

    def send(self, frame: Frame) -> None:
        self._websocket.send_nowait(self.session.send(frame))

    def answer(self, request: int, outcome: Receipt | NoiseError) -> None:
        """The fate of a bundle that came over this connection, which may be gone by now."""
        self.in_flight.release()
        if isinstance(outcome, NoiseError):
            self.send(RefusalFrame(request, outcome.code, outcome.detail))
        else:
            self.send(ReceiptFrame(request, outcome))

    def end(self, close_code: int, reason: str) -> None:
        """End the session from outside."""
        self.ending = self.ending or Ended(close_code, reason)
        self.scope.cancel()


class PushFace:
    """All push sessions of a provider."""

    def __init__(self, gateway: Gateway, *, idle_s: float = _IDLE_S, auth_s: float = _AUTH_S) -> None:
        self._gateway = gateway
        self._idle_s = idle_s
        self._auth_s = auth_s
        self._budgets = Budgets(Budget(BUDGET_BYTES_MAX), Budget(BUDGET_BYTES_MAX))
        self._connections: dict[bytes, list[Connection]] = {}

    async def serve(self, stream: trio.SocketStream, first_bytes: bytes) -> None:
        """One session, from the request head that was read to the close frame."""
        try:
            with trio.fail_after(self._auth_s):
                websocket = await accept_websocket(stream, first_bytes, self._budgets)
        except (Refused, trio.TooSlowError):
            await trio.aclose_forcefully(stream)
            return
        ending = Ended(CloseCode.GOING_AWAY, "the connection ended")
        try:
            connection = await self._authenticate(websocket)
            await self._run(websocket, connection)
            ending = connection.ending or ending
        except Ended as ended:
            ending = ended
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await websocket.close(ending.close_code, ending.reason)

    async def _authenticate(self, websocket: WebSocket) -> Connection:
        gateway = self._gateway
        session = PushSession(PushRole.SERVER, binary=websocket.subprotocol == SUBPROTOCOL_BINARY)
        nonce = secrets.token_bytes(32)
        challenge = ChallengeFrame(gateway.origin, nonce, int(1000 * self._auth_s), gateway.time_ms())
        websocket.send_nowait(session.send(challenge))
        try:
            with trio.fail_after(self._auth_s):
                payload = await websocket.receive(_AUTH_BYTES_MAX)
            if payload is None:
                raise Ended(CloseCode.UNAUTHENTICATED, "closed before authentication")
            frame = session.receive(payload)
            if not isinstance(frame, AuthFrame):
                raise DecodeError("expected an auth frame", code="out-of-turn")
            device_id = check_auth(
                frame.proof,
                origin=gateway.origin,
                nonce=nonce,
                audiences=gateway.audiences(websocket.host),
                purpose=PURPOSE_PUSH,
                now_ms=gateway.time_ms(),
            )
        except trio.TooSlowError:
            raise Ended(CloseCode.UNAUTHENTICATED, "auth-timeout: the challenge was not answered in time") from None
        except SignatureError as error:
            raise Ended(CloseCode.UNAUTHENTICATED, f"{error.code}: {error.detail}") from None
        except NoiseError as error:
            raise Ended(CloseCode.PROTOCOL, f"{error.code}: {error.detail}") from None
        return Connection(websocket, session, device_id, frame.cursor)

    async def _run(self, websocket: WebSocket, connection: Connection) -> None:
        others = self._connections.setdefault(connection.device_id, [])
        if len(others) >= _CONNECTIONS_PER_DEVICE:
            others.pop(0).end(CloseCode.REPLACED, "replaced: too many connections of this device")
        others.append(connection)
        try:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(websocket.run_writer)
                    nursery.start_soon(self._watch, websocket, connection)
                    nursery.start_soon(self._feed, websocket, connection)
                    await self._read(websocket, connection)
                    nursery.cancel_scope.cancel()
        finally:
            self._gateway.pipeline.fanout.leave(connection)
            if connection in others:
                others.remove(connection)
            if not others and self._connections.get(connection.device_id) is others:
                del self._connections[connection.device_id]

    async def _watch(self, websocket: WebSocket, connection: Connection) -> None:
        await websocket.overflowed.wait()
        connection.end(CloseCode.SLOW_READER, "slow-reader: resume from your cursor")

    async def _feed(self, websocket: WebSocket, connection: Connection) -> None:
        """Bring a client up to date, at its own speed, until the fanout takes over."""
        fanout = self._gateway.pipeline.fanout
        try:
            connection.push_nowait(await fanout.catch_up(connection))
            connection.greeted.set()
            while not fanout.join(connection):
                await websocket.drain()
                connection.push_nowait(await fanout.catch_up(connection))
        except Rejected as error:
            code = CloseCode.CURSOR_AHEAD if error.code == "cursor-ahead" else CloseCode.PROTOCOL
            code = CloseCode.UNAVAILABLE if error.code == "unavailable" else code
            connection.end(code, f"{error.code}: {error.detail}")

    async def _read(self, websocket: WebSocket, connection: Connection) -> None:
        bytes_max = (BUNDLE_BYTES_MAX + 64) * (1 if websocket.subprotocol == SUBPROTOCOL_BINARY else _JSON_FACTOR)
        try:
            while True:
                with trio.move_on_after(self._idle_s) as idle:
                    payload = await websocket.receive(bytes_max)
                if idle.cancelled_caught:
                    connection.ending = Ended(CloseCode.IDLE, "idle: nothing came for too long")
                    return
                if payload is None:
                    return
                await self._handle(connection.session.receive(payload), connection)
        except NoiseError as error:
            code = CloseCode.UNAVAILABLE if error.code == "busy" else CloseCode.PROTOCOL
            connection.ending = Ended(code, f"{error.code}: {error.detail}")

    async def _handle(self, frame: Frame, connection: Connection) -> None:
        if isinstance(frame, BundleFrame):
            await self._submit(frame, connection)
        elif isinstance(frame, AckFrame):
            hist_next = connection.cursor.hist_next
            self._gateway.pipeline.acks.accept(frame, self._gateway.origin, connection.device_id, hist_next)
        elif isinstance(frame, PingFrame):
            connection.send(PongFrame(frame.token))

    async def _submit(self, frame: BundleFrame, connection: Connection) -> None:
        request = frame.request
        await connection.greeted.wait()
        await connection.in_flight.acquire()
        try:
            await self._gateway.pipeline.submit(frame.bundle, lambda outcome: connection.answer(request, outcome))
        except NoiseError as error:
            connection.answer(request, error)
        except trio.ClosedResourceError:
            connection.answer(request, Rejected("the provider is stopping: send again later", code="unavailable"))

    async def close(self) -> None:
        """End all sessions: the provider stops."""
        for connections in list(self._connections.values()):
            for connection in connections:
                connection.end(CloseCode.GOING_AWAY, "going-away: the provider stops; reconnect")
        await trio.lowlevel.checkpoint()
