"""Which frame may come when on a push connection: one sans-IO state machine for both ends.

Knows nothing of sockets, time or signatures. Payloads in and frames out; frames in and payloads out; the role is an
argument. After h11 `_state.py` and wsproto `Connection`: the machine is a table, which a test walks and the docs show.
"""

from enum import Enum

from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.frames import (
    SUBPROTOCOL_BINARY,
    SUBPROTOCOL_JSON,
    AckFrame,
    AuthFrame,
    BundleFrame,
    ChallengeFrame,
    DeltaFrame,
    Frame,
    PingFrame,
    PongFrame,
    ReceiptFrame,
    RefusalFrame,
    encode_frame,
    encode_frame_json,
    parse_frame,
    parse_frame_json,
)


class PushRole(Enum):
    SERVER = "server"
    CLIENT = "client"


class PushState(Enum):
    GREETING = "greeting"  # the server owes a challenge
    AUTHENTICATING = "authenticating"  # the client owes an answer to it
    OPEN = "open"


TRANSITIONS: dict[tuple[PushState, PushRole, type[Frame]], PushState] = {
    (PushState.GREETING, PushRole.SERVER, ChallengeFrame): PushState.AUTHENTICATING,
    (PushState.AUTHENTICATING, PushRole.CLIENT, AuthFrame): PushState.OPEN,
    (PushState.OPEN, PushRole.SERVER, DeltaFrame): PushState.OPEN,
    (PushState.OPEN, PushRole.SERVER, ReceiptFrame): PushState.OPEN,
    (PushState.OPEN, PushRole.SERVER, RefusalFrame): PushState.OPEN,
    (PushState.OPEN, PushRole.SERVER, PingFrame): PushState.OPEN,
    (PushState.OPEN, PushRole.SERVER, PongFrame): PushState.OPEN,
    (PushState.OPEN, PushRole.CLIENT, BundleFrame): PushState.OPEN,
    (PushState.OPEN, PushRole.CLIENT, AckFrame): PushState.OPEN,
    (PushState.OPEN, PushRole.CLIENT, PingFrame): PushState.OPEN,
    (PushState.OPEN, PushRole.CLIENT, PongFrame): PushState.OPEN,
}
"""(state, who sends, frame) -> next state. Whatever is missing is a protocol violation by the sender."""

_MAY_COME = {
    (state, sender): frozenset(frame for s, r, frame in TRANSITIONS if (s, r) == (state, sender))
    for state in PushState
    for sender in PushRole
}


class CloseCode:
    """WebSocket close codes of our own. An SDK reconnects after all but the FATAL ones, and after "auth-timeout"."""

    GOING_AWAY = 1001  # the server stops; reconnect
    PROTOCOL = 4400  # malformed frame, or one out of turn
    UNAUTHENTICATED = 4401  # the challenge was not answered rightly, or too late
    CURSOR_AHEAD = 4409  # the client verified more than this server has
    SLOW_READER = 4408  # the outgoing queue overflowed; reconnect and resume
    IDLE = 4410  # nothing came for too long; reconnect
    REPLACED = 4411  # too many connections of one device; the oldest went
    UNAVAILABLE = 4503  # the server cannot serve now; reconnect later

    FATAL = frozenset({PROTOCOL, UNAUTHENTICATED, CURSOR_AHEAD})


class PushSession:
    """One end of a connection. `binary`: whether payloads are bytes (noise.v1) or text (noise.v1+json)."""

    __slots__ = ("_peer", "_role", "binary", "state")

    def __init__(self, role: PushRole, *, binary: bool) -> None:
        self._role = role
        self._peer = PushRole.CLIENT if role is PushRole.SERVER else PushRole.SERVER
        self.binary = binary
        self.state = PushState.GREETING

    def send(self, frame: Frame) -> bytes | str:
        """The payload of a frame that we send. Raises NoiseError when it is not our turn: a bug of ours."""
        following = TRANSITIONS.get((self.state, self._role, type(frame)))
        if following is None:
            detail = f"a {self._role.value} must not send {type(frame).__name__} while {self.state.value}"
            raise NoiseError(detail, code="out-of-turn")
        payload = encode_frame(frame) if self.binary else encode_frame_json(frame)
        self.state = following
        return payload

    def receive(self, payload: bytes | str) -> Frame:
        """The frame in a payload from the peer. Raises DecodeError for malformed ones and those out of turn."""
        if isinstance(payload, str) is self.binary:
            raise DecodeError("text and binary frames do not mix", code="wrong-frame-kind")
        may_come = _MAY_COME[self.state, self._peer]
        frame = parse_frame(payload, may_come) if isinstance(payload, bytes) else parse_frame_json(payload, may_come)
        self.state = TRANSITIONS[self.state, self._peer, type(frame)]
        return frame


def choose_subprotocol(offered: list[str]) -> str | None:
    """The subprotocol that a server picks from what a client offers, binary first; None: it speaks none of ours."""
    return next((name for name in (SUBPROTOCOL_BINARY, SUBPROTOCOL_JSON) if name in offered), None)
