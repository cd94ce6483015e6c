"""Makes the golden vectors of the encoding: primitives in both faces, what is refused, and every structure's layout.

`accepted`: a value's JSON text and its bytes. `refused`: bytes that are no encoding. `refused_json`: texts that are no
value. The structures that lists, optionals and embedded parts are made of here are `POINT` and its neighbours; those
of the protocol are in files of their own, frames excepted.
"""

from functools import partial
from itertools import count
from typing import Annotated, Any, NamedTuple

from noise.protocol import encoding
from noise.protocol.challenges import CHALLENGE, CHALLENGE_STATE
from noise.protocol.encoding import (
    HASHES,
    U8,
    U16,
    U32,
    U64,
    Bytes5,
    Bytes16,
    Codec,
    Indexes,
    StructCodec,
    Text,
    Vec16,
    Vec32,
    embedded,
    list_of,
    optional,
    struct_codec,
)
from noise.protocol.errors import DecodeError
from noise.protocol.history import MAILBOX_STATE, new_history
from noise.protocol.json_text import encode_json, parse_json
from noise.protocol.statements import ROSTER
from tests.protocol.structures import STRUCTS, record_type_of
from tests.vectors.cast import device_of, filler, make_roster
from tests.vectors.golden import readable, refusal_of, write
from tests.vectors.make_challenges import ANSWERED, CHALLENGES


class Point(NamedTuple):
    x: U16
    y: U32


POINT = struct_codec(Point)


class Stamped(NamedTuple):
    seal: Bytes5
    point: Annotated[Point, POINT]


STAMPED = struct_codec(Stamped, record_type=0x0102)


class Even(NamedTuple):
    n: U8


def check_even(value: Even) -> None:
    if value.n % 2:
        raise DecodeError("odd")


EVEN = struct_codec(Even, check=check_even)


class Sealed(NamedTuple):
    n: U8
    seal: Bytes5


SEALED = struct_codec(Sealed)


def member(annotation: Any) -> Codec[Any]:
    """The codec in an annotation."""
    return next(part for part in annotation.__metadata__ if isinstance(part, Codec))


CODECS: dict[str, Codec[Any]] = {
    "u8": member(U8),
    "u16": member(U16),
    "u32": member(U32),
    "u64": member(U64),
    "opaque[5]": member(Bytes5),
    "opaque[16]": member(Bytes16),
    "vec16": member(Vec16),
    "vec32": member(Vec32),
    "text": member(Text),
    "list(opaque[32])": HASHES,
    "list(u16)": member(Indexes),
    "Point": POINT,
    "Stamped": STAMPED,
    "Even": EVEN,
    "list(Point)": list_of(POINT),
    "list(Stamped)": list_of(STAMPED),
    "list(Even)": list_of(EVEN),
    "list(Sealed)": list_of(SEALED),
    "list(list(opaque[32]))": list_of(HASHES),
    "optional(u8)": optional(member(U8)),
    "optional(Point)": optional(POINT),
    "embedded16(Point)": embedded(POINT),
    "embedded32(Point)": embedded(POINT, 4),
}

POINT_BYTES = "000100000002"
ACCEPTED: list[tuple[str, Any, str]] = [
    ("u8", 255, "ff"),
    ("u16", 1, "0001"),
    ("u32", 0x01020304, "01020304"),
    ("u32", 2**32 - 1, "ffffffff"),
    ("u64", 0, "0000000000000000"),
    ("u64", 2**53 + 1, "0020000000000001"),
    ("u64", 2**64 - 1, "ffffffffffffffff"),
    ("opaque[5]", b"\xfb\xff\xfe\x00\x00", "fbfffe0000"),
    ("vec16", b"", "0000"),
    ("vec16", b"ab", "00026162"),
    ("vec32", b"ab", "000000026162"),
    ("text", "", "0000"),
    ("text", "n\u00f8ise\x00", "00076ec3b869736500"),
    ("text", 'a"\n\x7f\U0001f511', "000861220a7ff09f9491"),
    ("list(opaque[32])", (), "00000000"),
    ("list(opaque[32])", (b"\x11" * 32,), "00000001" + "11" * 32),
    ("list(u16)", (0, 65535), "000000020000ffff"),
    ("Point", Point(1, 2), POINT_BYTES),
    ("Stamped", Stamped(b"abcde", Point(1, 2)), "01026162636465" + POINT_BYTES),
    ("Even", Even(4), "04"),
    ("list(Point)", (Point(1, 2), Point(3, 4)), "00000002" + POINT_BYTES + "000300000004"),
    ("list(Stamped)", (Stamped(b"abcde", Point(1, 2)),), "0000000101026162636465" + POINT_BYTES),
    ("list(Even)", (Even(2), Even(4)), "000000020204"),
    ("list(Sealed)", (Sealed(1, b"abcde"),), "00000001016162636465"),
    ("list(list(opaque[32]))", ((), (b"\x11" * 32,)), "00000002" + "00000000" + "00000001" + "11" * 32),
    ("optional(u8)", 0, "0100"),
    ("optional(Point)", None, "00"),
    ("optional(Point)", Point(1, 2), "01" + POINT_BYTES),
    ("embedded16(Point)", b"", "0000"),
    ("embedded16(Point)", POINT.encode(Point(1, 2)), "0006" + POINT_BYTES),
    ("embedded32(Point)", POINT.encode(Point(1, 2)), "00000006" + POINT_BYTES),
]
REFUSED = [
    ("u8", ""),
    ("u8", "0000"),
    ("u64", "00" * 7),
    ("opaque[5]", "00" * 4),
    ("opaque[5]", "00" * 6),
    ("vec16", "00"),
    ("vec16", "0001"),
    ("vec16", "000000"),
    ("vec32", "ffffffff"),
    ("text", "0001ff"),
    ("text", "0002c080"),  # an overlong NUL
    ("text", "0003eda080"),  # a surrogate
    ("text", "0002f09f"),  # half a character
    ("text", "0004f4908080"),  # beyond Unicode
    ("list(opaque[32])", "00000001" + "11" * 31),
    ("list(opaque[32])", "00000000" + "11" * 32),
    ("list(opaque[32])", "ffffffff" + "11" * 32),
    ("list(opaque[32])", "08000000"),  # times 32 is zero in 32 bits
    ("list(u16)", "80000001" + "0000"),  # times two is two in 32 bits
    ("Stamped", "01036162636465" + POINT_BYTES),
    ("Stamped", "02016162636465" + POINT_BYTES),
    ("Stamped", "6162636465" + POINT_BYTES),
    ("Even", "03"),
    ("list(Even)", "000000020203"),
    ("list(list(opaque[32]))", "00000002" + "00000000"),
    ("optional(Point)", ""),
    ("optional(Point)", "02"),
    ("optional(Point)", "ff" + POINT_BYTES),
    ("optional(Point)", "01"),
    ("optional(Point)", "00" + POINT_BYTES),
    ("embedded16(Point)", "0005" + POINT_BYTES),
    ("embedded16(Point)", "0007" + POINT_BYTES),
]
SMALL_INTEGERS = ("u8", "u16", "u32")
NO_SMALL_INTEGER = [
    *("-1", "-0", "256.0", "1e2", "1E0", "0.0", "01", "+1", "1_0", "0x1", "NaN", "Infinity", "-Infinity", "", " "),
    *("true", "false", "null", "[]", "{}", "[1]", '"1"', '""', "4294967296", "9" * 400, "\uff11", "\u0661"),
]
NO_U64 = [
    *("1", "0", "-1", "1.0", "true", "null", "[]", "{}", "18446744073709551616", '""', '" "', '"-1"', '"-0"', '"+1"'),
    *('"00"', '"01"', '"1_0"', '"1 "', '" 1"', '"1.0"', '"1e2"', '"0x1"', '"1\\n"', '"\\n1"', '"\\u0000"', '"1n"'),
    *('"\uff11"', '"\u0661"', '"\u00b2"', '"\u2460"', '"1\u200b"', '"\\ud800"', '"NaN"', '"18446744073709551616"'),
    *('"99999999999999999999"', '"100000000000000000000"', '"' + "9" * 400 + '"', '"' + "0" * 30 + '"'),
]
NO_OPAQUE_5 = [
    *("null", "true", "5", "[]", "{}", "[0,0,0,0,0]", '""', '"AAAAAA"', '"AAAAAAAA"', '"AAAAAAA="', '"AAAAAA=="'),
    *('"AAAAAA\\n"', '"AAA AAAA"', '" AAAAAAA"', '"AAAAAAA\\n"', '"AAAAAAB"', '"AAAAAA+"', '"AAAAAA/"', '"AAAAAA."'),
    *('"AAAAAA\u00c0"', '"AAAAAA\\u0000"', '"\uff21AAAAAA"', '"AAAAAA\\ud800"'),
]
REFUSED_JSON = [
    *((name, text) for name in SMALL_INTEGERS for text in NO_SMALL_INTEGER),
    *(("u64", text) for text in NO_U64),
    *(("opaque[5]", text) for text in NO_OPAQUE_5),
    ("u8", "256"),
    ("u16", "65536"),
    *(("text", text) for text in ('"\\ud800"', '"\\udc00\\ud800"', "0", "null", "true", '["x"]', '"x', "'x'", '"\t"')),
    ("list(opaque[32])", '"' + "A" * 43 + '"'),
    ("list(opaque[32])", '["' + "A" * 42 + '"]'),
    ("list(opaque[32])", '{"0":"' + "A" * 43 + '"}'),
    ("list(opaque[32])", "null"),
    ("list(u16)", "[65536]"),
    ("list(Point)", '{"x":1,"y":2}'),
    ("Point", "[1,2]"),
    ("Point", '{"x":1}'),
    ("Point", '{"x":1,"y":2,"z":0}'),
    ("Point", '{"x":1,"Y":2}'),
    ("Point", '{"x":1,"x":1,"y":2}'),
    ("Point", '{"x":1,"\\u0078":1,"y":2}'),
    ("Point", '{"x":1,"y":2,"__proto__":{}}'),
    ("Point", '{"x":"1","y":2}'),
    ("Point", "null"),
    ("Even", '{"n":3}'),
    ("optional(Point)", "0"),
    ("optional(Point)", "{}"),
    ("optional(Point)", "false"),
    ("embedded16(Point)", "{}"),
    ("embedded16(Point)", "null"),
    ("embedded16(Point)", '"AAEAAAAC"'),
    ("embedded16(Point)", '{"bytes":null}'),
    ("embedded16(Point)", '{"value":null}'),
    ("embedded16(Point)", '{"bytes":"AAEAAAAC","value":null}'),
    ("embedded16(Point)", '{"bytes":"AAEAAAAD","value":{"x":1,"y":2}}'),
    ("embedded16(Point)", '{"bytes":"","value":{"x":1,"y":2}}'),
    ("embedded16(Point)", '{"bytes":"AAEAAAAC","values":{"x":1,"y":2}}'),
]


def read_text(name: str, text: str) -> Any:
    """The value that a JSON text says."""
    return CODECS[name].from_json(parse_json(text.encode()))


def describe(codec: Codec[Any]) -> str:
    """A codec's type, in the words of `docs/protocol.md`."""
    match codec:
        case encoding._UInt():
            return f"u{8 * codec.min_size}"
        case encoding._Opaque():
            return f"opaque[{codec.min_size}]"
        case encoding._Vec():
            return f"vec{8 * codec.min_size}"
        case encoding._Text():
            return "text"
        case encoding._List():
            return f"list({describe(codec._item)})"
        case encoding._Optional():
            return f"optional({describe(codec._item)})"
        case encoding._Embedded():
            return f"embedded{8 * codec.min_size}({describe(codec._inner)})"
        case StructCodec():
            return codec.cls.__name__
    raise TypeError(f"no name for {codec!r}")


def example(codec: Codec[Any], numbers: "count[int]") -> Any:
    """Some value, in which no two parts are equal."""
    if codec is ROSTER:
        return make_roster()
    if codec is MAILBOX_STATE:
        return new_history(device_of("alice"), next(numbers)).state
    if codec is CHALLENGE:
        return CHALLENGES[0]
    if codec is CHALLENGE_STATE:
        return ANSWERED
    match codec:
        case encoding._UInt():
            return (next(numbers) << 8 * (codec.min_size - 1)) % (1 << 8 * codec.min_size) + 1
        case encoding._Opaque():
            return filler(f"example {next(numbers)}", codec.min_size)
        case encoding._Vec():
            return filler(f"example {next(numbers)}", 5)
        case encoding._Text():
            return f"n\u00f8ise {next(numbers)}"
        case encoding._List():
            return (example(codec._item, numbers),)
        case encoding._Optional():
            return example(codec._item, numbers)
        case encoding._Embedded():
            return codec._inner.encode(example(codec._inner, numbers))
    return codec.make([example(field, numbers) for _, field in codec._fields])  # type: ignore[attr-defined]


def structure_vectors() -> dict[str, Any]:
    described = {}
    for name, codec in STRUCTS.items():
        is_stored = name.startswith("follower.")  # these are a client's own
        if not is_stored and not name.endswith("Frame") and not is_evidence(codec):
            value = example(codec, count(1))
            described[name] = layout(codec) | {
                "json": encode_json(codec.to_json(value)).decode(),
                "encoded": codec.encode(value),
            }
    return described


def layout(codec: StructCodec[Any]) -> dict[str, Any]:
    return {
        "record_type": record_type_of(codec),
        "fields": {field: describe(part) for field, part in codec._fields},
    }


def is_evidence(codec: StructCodec[Any]) -> bool:
    """One of the large structures of which `make_evidence` has examples."""
    return codec.cls.__module__.startswith("noise.protocol.evidence.")


def file_of(name: str) -> str:
    """Where a structure is described: those of epochs and the log, and of complaints, have files of their own."""
    module = name.partition(".")[0]
    if module in ("statements", "challenges", "log_pages", "audit_page"):
        return "structures_log.json"
    return "structures_complaints.json" if module == "complaints" else "structures.json"


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    for name, encoded in REFUSED:
        refusal_of(CODECS[name].decode, bytes.fromhex(encoded))
    for name, text in REFUSED_JSON:
        refusal_of(partial(read_text, name), text)
    accepted = [
        {"codec": name, "json": encode_json(CODECS[name].to_json(value)).decode(), "encoded": encoded}
        for name, value, encoded in ACCEPTED
    ]
    content = {
        "accepted": accepted,
        "refused": [{"codec": name, "encoded": encoded} for name, encoded in REFUSED],
        "refused_json": [{"codec": name, "json": text} for name, text in REFUSED_JSON],
    }
    by_file: dict[str, dict[str, Any]] = {}
    for name, described in structure_vectors().items():
        by_file.setdefault(file_of(name), {})[name] = described
    evidence = {name: layout(codec) for name, codec in STRUCTS.items() if is_evidence(codec)}
    return {
        "encoding.json": readable(content),
        **{file: readable(structures) for file, structures in by_file.items()},
        "structures_evidence.json": readable(evidence),
    }


if __name__ == "__main__":
    write(vectors())
