"""Every codec of the protocol package, values for each of them, and ways to damage what they encode.

Knows nothing of what a structure means beyond the few that have a rule of their own.
"""

import importlib
import pkgutil
import sys
from functools import cache
from random import Random
from typing import Any

from hypothesis import strategies as st

import noise.protocol
from noise.protocol import encoding, frames
from noise.protocol.challenges import CHALLENGE, CHALLENGE_STATE, NO_ANSWER, ChallengeState
from noise.protocol.encoding import Codec, StructCodec
from noise.protocol.errors import DecodeError
from noise.protocol.history import KIND_DEVICE, MAILBOX_STATE, STATUS_ACTIVE
from noise.protocol.identifiers import NO_EPOCH, parse_seq
from noise.protocol.statements import ROSTER, RosterEntry
from tests.vectors.cast import make_roster


def _find_codecs() -> dict[str, Codec[Any]]:
    for found in pkgutil.walk_packages(noise.protocol.__path__, noise.protocol.__name__ + "."):
        importlib.import_module(found.name)
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("noise.protocol.")]
    named = [item for module in modules for item in vars(module).items()]
    codecs = [(name, value) for name, value in named if isinstance(value, Codec)]
    codecs += [("", codec) for codec in frames._CODECS.values()]
    found_names = {
        f"{codec.cls.__module__.rpartition('.')[2]}.{codec.cls.__name__}"
        if isinstance(codec, StructCodec)
        else name: codec
        for name, codec in codecs
    }
    return dict(sorted(found_names.items()))


CODECS = _find_codecs()
"""Every codec that the package holds: structures as `module.Class`, others by the name that a module gives them."""

STRUCTS: dict[str, StructCodec[Any]] = {name: c for name, c in CODECS.items() if isinstance(c, StructCodec)}


def record_type_of(codec: StructCodec[Any]) -> int | None:
    return int.from_bytes(codec._prefix, "big") if codec._prefix else None


@cache
def values(codec: Codec[Any]) -> st.SearchStrategy[Any]:
    """Values of a codec, small ones; embedded structures decode."""
    if codec is ROSTER:
        return _rosters()
    if codec is CHALLENGE:
        return _generic(codec).map(lambda challenge: challenge._replace(epoch=parse_seq(challenge.seq)[0]))
    if codec is CHALLENGE_STATE:
        return _challenge_states()
    if codec is MAILBOX_STATE:
        return _generic(codec).map(
            lambda state: state._replace(kind=KIND_DEVICE, status=STATUS_ACTIVE, until_epoch=NO_EPOCH, target=bytes(32))
        )
    if isinstance(codec, StructCodec) and codec._check is not None:
        return _generic(codec).filter(lambda value: _passes(codec, value))
    return _generic(codec)


def _passes(codec: StructCodec[Any], value: Any) -> bool:
    """Whether the structure's own rule lets the value through."""
    try:
        codec.decode(codec.encode(value))
    except DecodeError:
        return False
    return True


def _generic(codec: Codec[Any]) -> st.SearchStrategy[Any]:
    match codec:
        case encoding._UInt():
            return st.integers(0, (1 << 8 * codec.min_size) - 1)
        case encoding._Opaque():
            return st.binary(min_size=codec.min_size, max_size=codec.min_size)
        case encoding._Vec():
            return st.binary(max_size=40)
        case encoding._Text():
            return st.text(max_size=20)
        case encoding._List():
            return st.lists(values(codec._item), max_size=2).map(tuple)
        case encoding._Optional():
            return st.none() | values(codec._item)
        case encoding._Embedded():
            return st.just(b"") | values(codec._inner).map(codec._inner.encode)
        case StructCodec():
            return st.tuples(*(values(field) for _, field in codec._fields)).map(codec.make)
    raise TypeError(f"no values for {codec!r}")


def _rosters() -> st.SearchStrategy[Any]:
    def build(counts: tuple[int, int], fields: tuple[Any, ...], keys: list[bytes]) -> Any:
        roster = make_roster(*counts)
        actors = [
            RosterEntry(e.actor, i, e.suite, key) for i, (e, key) in enumerate(zip(roster.actors, keys, strict=False))
        ]
        return ROSTER.make((*fields, tuple(actors), roster.lanes, roster.parameters))

    counts = st.tuples(st.integers(1, 3), st.integers(1, 3))
    fields = st.tuples(*(values(field) for _, field in ROSTER._fields[:6]))
    return st.builds(build, counts, fields, st.lists(st.binary(min_size=32, max_size=32), min_size=14, max_size=14))


def _challenge_states() -> st.SearchStrategy[Any]:
    def build(opened: int, given: int, answer: tuple[int, bytes] | None) -> Any:
        if answer is None:
            return ChallengeState(opened, opened + given, NO_EPOCH, NO_ANSWER)
        return ChallengeState(opened, opened + given, opened + 1 + answer[0], answer[1])

    epochs = st.integers(0, 2**62)
    hashes = st.binary(min_size=32, max_size=32).filter(lambda answer_hash: answer_hash != NO_ANSWER)
    return st.builds(build, epochs, epochs, st.none() | st.tuples(epochs, hashes))


def damaged(data: bytes, random: Random) -> bytes:
    """The bytes after one or two accidents, each of which an attacker would also try."""
    for _ in range(random.randint(1, 2)):
        at = random.randrange(len(data) + 1)
        match random.randrange(7):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + random.randbytes(random.randint(1, 4)) + data[at:]
            case 2 if data:
                at %= len(data)
                data = data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
            case 3:
                data = data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]
            case 4:
                data = data[:at] + bytes(4) + data[at + 4 :]
            case 5:
                data = data[:at] + data[at + random.randint(1, 40) :]
            case _:
                end = at + random.randint(1, 40)
                data = data[:end] + data[at:end] + data[end:]
    return data


_JUNK: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**8, 2**16, 2**32, 2**64, 10**400, 0.0, 1.5, float("nan"), float("inf")),
    *("", "0", "1", "-1", "-0", "00", "01", "+1", " 1", "1 ", "1_0", "1.0", "1e2", "\uff11", "\u0661", "1\n"),
    *(str(2**64 - 1), str(2**64), "A", "AA", "AB", "AA==", "A+/A", "A A=", "AA\n", "\ud800", "\x00", "A" * 100_000),
    *([], [None], [[]], [0, "0"], {}, {"bytes": ""}, {"bytes": "AA"}, {"value": {}}, {"bytes": "", "value": None}),
]


def damaged_json(value: Any, random: Random) -> Any:
    """The JSON value with one part replaced, left out, added or renamed."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        name = random.choice(sorted(value))
        match random.randrange(8):
            case 0:
                return {n: v for n, v in value.items() if n != name}
            case 1:
                return value | {random.choice(["extra", "", "__proto__", "\ud800", name + " "]): value[name]}
            case _:
                return value | {name: damaged_json(value[name], random)}
    if isinstance(value, list) and value and random.random() < 0.8:
        at = random.randrange(len(value))
        return [*value[:at], damaged_json(value[at], random), *value[at + 1 :]]
    return random.choice(_JUNK)
