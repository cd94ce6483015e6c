"""The push session, walked: every state, sender and frame is in the table, or is refused; binary and JSON."""

from itertools import product

import pytest

from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.frames import FRAME_TYPES, ChallengeFrame, Frame, encode_frame, encode_frame_json
from noise.protocol.push_session import (
    TRANSITIONS,
    CloseCode,
    PushRole,
    PushSession,
    PushState,
    choose_subprotocol,
)
from tests.vectors.make_frames import frames

FRAMES: dict[type[Frame], Frame] = {type(frame): frame for frame in frames()}
ROLES = (PushRole.SERVER, PushRole.CLIENT)
every_face = pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
every_step = pytest.mark.parametrize(
    ("state", "sender", "frame"),
    [
        pytest.param(state, sender, frame, id=f"{state.value}-{sender.value}-{name}")
        for state, sender, (name, (_, frame)) in product(PushState, PushRole, FRAME_TYPES.items())
    ],
)


def pair(state: PushState, sender: PushRole, *, binary: bool) -> tuple[PushSession, PushSession]:
    """The sender's end and the other, both in a state."""
    ours = PushSession(sender, binary=binary)
    theirs = PushSession(PushRole.CLIENT if sender is PushRole.SERVER else PushRole.SERVER, binary=binary)
    ours.state = theirs.state = state
    return ours, theirs


def payload_of(frame: Frame, *, binary: bool) -> bytes | str:
    return encode_frame(frame) if binary else encode_frame_json(frame)


@every_face
@every_step
def test_the_table(state: PushState, sender: PushRole, frame: type[Frame], binary: bool) -> None:
    ours, theirs = pair(state, sender, binary=binary)
    following = TRANSITIONS.get((state, sender, frame))
    payload = payload_of(FRAMES[frame], binary=binary)
    if following is None:
        with pytest.raises(NoiseError) as refused:
            ours.send(FRAMES[frame])
        assert refused.value.code == "out-of-turn"
        assert not isinstance(refused.value, DecodeError), "a bug of ours is not a malformed frame"
        with pytest.raises(DecodeError) as refused:
            theirs.receive(payload)
        assert refused.value.code == "out-of-turn"
        assert (ours.state, theirs.state) == (state, state)
    else:
        assert ours.send(FRAMES[frame]) == payload
        assert theirs.receive(payload) == FRAMES[frame]
        assert (ours.state, theirs.state) == (following, following)


def test_the_table_has_no_dead_ends() -> None:
    """Every state is reached, every frame has one sender at least, and pings go both ways."""
    reached = {PushState.GREETING} | set(TRANSITIONS.values())
    assert reached == set(PushState)
    assert {state for state, _, _ in TRANSITIONS} == set(PushState)
    assert {frame for _, _, frame in TRANSITIONS} == set(FRAMES)
    senders = {frame: {sender for _, sender, f in TRANSITIONS if f is frame} for frame in FRAMES}
    assert [name for name, (_, frame) in FRAME_TYPES.items() if len(senders[frame]) == 2] == ["ping", "pong"]
    assert len(TRANSITIONS) == 11


def test_nobody_reads_before_the_challenge_is_answered() -> None:
    """The only frames before `open` are the challenge and its answer."""
    early = {(sender, frame) for state, sender, frame in TRANSITIONS if state is not PushState.OPEN}
    assert {frame.__name__ for _, frame in early} == {"ChallengeFrame", "AuthFrame"}
    assert len(early) == 2


@every_face
def test_a_conversation(binary: bool) -> None:
    server, client = PushSession(PushRole.SERVER, binary=binary), PushSession(PushRole.CLIENT, binary=binary)
    ends = {PushRole.SERVER: (server, client), PushRole.CLIENT: (client, server)}
    script = ["challenge", "auth", "delta", "ack", "bundle", "ping", "pong", "refusal", "bundle", "receipt", "delta"]
    senders = [0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0]
    for name, sender in zip(script, senders, strict=True):
        ours, theirs = ends[ROLES[sender]]
        frame = FRAMES[FRAME_TYPES[name][1]]
        assert theirs.receive(ours.send(frame)) == frame
        assert server.state is client.state
    assert server.state is PushState.OPEN


@every_face
@pytest.mark.parametrize("state", PushState)
@pytest.mark.parametrize("role", PushRole)
def test_malformed_payloads_change_nothing(state: PushState, role: PushRole, binary: bool) -> None:
    session = PushSession(role, binary=binary)
    session.state = state
    good = payload_of(FRAMES[FRAME_TYPES["ping"][1]], binary=binary)
    garbage = [b"", b"\x00", b"\xff", b"\x08", b"\x08" + bytes(15), b"\x08" + bytes(17), b"\x02" + bytes(999)]
    texts = ["", "null", "{}", '{"type":"ping"}', '{"type":"auth"}', str(good)[:-1], "[" * 100_000, "\ud800"]
    for payload in garbage if binary else texts:
        with pytest.raises(DecodeError):
            session.receive(payload)
        assert session.state is state


@every_face
def test_the_two_faces_do_not_mix(binary: bool) -> None:
    """A connection has the one face that its subprotocol names; else two readers could see two conversations."""
    session = PushSession(PushRole.CLIENT, binary=binary)
    with pytest.raises(DecodeError) as refused:
        session.receive(payload_of(FRAMES[ChallengeFrame], binary=not binary))
    assert refused.value.code == "wrong-frame-kind"
    assert session.state is PushState.GREETING


@every_face
def test_a_frame_that_cannot_be_encoded_was_not_sent(binary: bool) -> None:
    server = PushSession(PushRole.SERVER, binary=True)
    with pytest.raises(DecodeError):
        server.send(ChallengeFrame(b"no origin", bytes(32), 1, 1))
    assert server.state is PushState.GREETING
    assert server.send(FRAMES[ChallengeFrame])


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["noise.v2"], None),
        (["NOISE.V1"], None),
        (["noise.v1 "], None),
        (["noise.v1"], "noise.v1"),
        (["noise.v1+json"], "noise.v1+json"),
        (["noise.v1+json", "noise.v1"], "noise.v1"),
        (["mqtt", "noise.v1+json"], "noise.v1+json"),
    ],
)
def test_subprotocols(offered: list[str], chosen: str | None) -> None:
    assert choose_subprotocol(offered) == chosen


def test_close_codes_are_distinct_and_private() -> None:
    codes = {name: code for name, code in vars(CloseCode).items() if isinstance(code, int)}
    assert len(set(codes.values())) == len(codes)
    assert all(4000 <= code < 5000 for name, code in codes.items() if name != "GOING_AWAY")
    assert set(codes.values()) > CloseCode.FATAL
