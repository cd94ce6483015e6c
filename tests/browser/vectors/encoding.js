import { EMPTY, fromHex, toHex, utf8 } from "../../../clients/browser/protocol/bytes.js";
import {
  BYTES16,
  BYTES5,
  HASHES,
  INDEXES,
  TEXT,
  U16,
  U32,
  U64,
  U8,
  VEC16,
  VEC32,
  embedded,
  listOf,
  optional,
  structCodec,
} from "../../../clients/browser/protocol/encoding.js";
import { DecodeError } from "../../../clients/browser/protocol/errors.js";
import { encodeJson, parseJson } from "../../../clients/browser/protocol/json_text.js";

function checkEven({ n }) {
  if (n % 2) throw new DecodeError("odd");
}

const POINT = structCodec("Point", { x: U16, y: U32 });
const STAMPED = structCodec("Stamped", { seal: BYTES5, point: POINT }, { recordType: 0x0102 });
const EVEN = structCodec("Even", { n: U8 }, { check: checkEven });
const SEALED = structCodec("Sealed", { n: U8, seal: BYTES5 });

const CODECS = {
  u8: U8,
  u16: U16,
  u32: U32,
  u64: U64,
  "opaque[5]": BYTES5,
  "opaque[16]": BYTES16,
  vec16: VEC16,
  vec32: VEC32,
  text: TEXT,
  "list(opaque[32])": HASHES,
  "list(u16)": INDEXES,
  Point: POINT,
  Stamped: STAMPED,
  Even: EVEN,
  "list(Point)": listOf(POINT),
  "list(Stamped)": listOf(STAMPED),
  "list(Even)": listOf(EVEN),
  "list(Sealed)": listOf(SEALED),
  "list(list(opaque[32]))": listOf(HASHES),
  "optional(u8)": optional(U8),
  "optional(Point)": optional(POINT),
  "embedded16(Point)": embedded(POINT),
  "embedded32(Point)": embedded(POINT, 4),
};

/** What the wrong type, or a value out of range, must not become. */
const NO_VALUES = [
  ["u8", 256],
  ["u8", -1],
  ["u8", 0.5],
  ["u8", 1n],
  ["u32", 2 ** 32],
  ["u64", 2n ** 64n],
  ["u64", -1n],
  ["u64", 1],
  ["opaque[5]", EMPTY],
  ["vec16", new Uint8Array(65536)],
  ["text", "\ud800"],
  ["text", "x".repeat(65536)],
];

export async function check(vectors, t) {
  for (const { codec, json, encoded } of vectors.accepted) {
    const value = CODECS[codec].decode(fromHex(encoded));
    t.equal(CODECS[codec].encode(value), encoded, `${codec} ${encoded}`);
    t.equal(new TextDecoder().decode(encodeJson(CODECS[codec].toJson(value))), json, `JSON of ${codec} ${encoded}`);
    t.equal(CODECS[codec].fromJson(parseJson(utf8(json))), value, `${codec} of ${json}`);
    const [framed, at] = [fromHex(`ee${encoded}ee`), encoded.length / 2 + 1];
    t.equal(CODECS[codec].decode(framed.subarray(1, at)), value, `${codec} ${encoded} within a frame`);
  }
  for (const { codec, encoded } of vectors.refused) {
    await t.refuses("malformed", () => CODECS[codec].decode(fromHex(encoded)), `${codec} ${encoded}`);
  }
  for (const { codec, json } of vectors.refused_json) {
    await t.refuses("malformed", () => CODECS[codec].fromJson(parseJson(utf8(json))), `${codec} of ${json}`);
  }
  for (const [codec, value] of NO_VALUES) {
    await t.refuses("malformed", () => toHex(CODECS[codec].encode(value)), `${codec} that cannot be written`);
  }
}
