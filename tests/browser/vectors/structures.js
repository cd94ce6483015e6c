/**
 * Every structure by the name that the vectors give it, `module.Class`, and what holds for all of them alike.
 * @module
 */

import { fromHex, toHex, utf8 } from "../../../clients/browser/protocol/bytes.js";
import { StructCodec } from "../../../clients/browser/protocol/encoding.js";
import { encodeJson, parseJson } from "../../../clients/browser/protocol/json_text.js";

/** The exported codec of a structure. */
async function structureOf(name) {
  const [module, className] = name.split(".");
  const exported = await import(`../../../clients/browser/protocol/${module}.js`);
  const found = Object.values(exported).find((part) => part instanceof StructCodec && part.name === className);
  if (found === undefined) throw new Error(`${module}.js exports no codec of ${className}`);
  return found;
}

/** A codec's type, in the words of `docs/protocol.md`. */
export function describe(codec) {
  switch (codec.constructor.name) {
    case "UInt":
    case "UInt64":
      return `u${8 * codec.minSize}`;
    case "Opaque":
      return `opaque[${codec.minSize}]`;
    case "Vec":
      return `vec${8 * codec.minSize}`;
    case "TextCodec":
      return "text";
    case "List":
      return `list(${describe(codec.item)})`;
    case "Optional":
      return `optional(${describe(codec.item)})`;
    case "Embedded":
      return `embedded${8 * codec.minSize}(${describe(codec.inner)})`;
    default:
      return codec.name;
  }
}

/** A structure's value from a vector's object: bytes are hex there, and u64 numbers or decimal texts. */
export function valueFrom(codec, stored) {
  const members = codec.fields.map(([name, field]) => {
    const kind = field.constructor.name;
    if (kind === "UInt64") return [name, BigInt(stored[name])];
    return [name, kind === "Opaque" || kind === "Vec" ? fromHex(stored[name]) : stored[name]];
  });
  return Object.fromEntries(members);
}

/** Record type, names and types of the fields, in order. */
function checkLayout(codec, stored, name, t) {
  t.equal(codec.recordType, stored.record_type, `record type of ${name}`);
  const fields = codec.fields.map(([field, part]) => [field, describe(part)]);
  t.equal(fields, Object.entries(stored.fields), `fields of ${name}`);
}

/** Both faces of one value say the same, and nothing may be cut off or added. */
async function checkFaces(codec, stored, name, t) {
  const encoded = fromHex(stored.encoded);
  const value = codec.decode(encoded);
  t.equal(codec.encode(value), stored.encoded, `encoding of ${name}`);
  t.equal(toHex(encodeJson(codec.toJson(value))), toHex(utf8(stored.json)), `JSON of ${name}`);
  t.equal(codec.fromJson(parseJson(utf8(stored.json))), value, `value in the JSON of ${name}`);
  t.equal(codec.encode(codec.fromJson(parseJson(utf8(stored.json)))), stored.encoded, `${name} by way of its JSON`);
  for (let size = 0; size < encoded.length; size++) {
    await t.refuses("malformed", () => codec.decode(encoded.subarray(0, size)), `${name} cut to ${size} bytes`);
  }
  await t.refuses("malformed", () => codec.decode(fromHex(`${stored.encoded}00`)), `${name} and a byte more`);
}

export async function check(vectors, t) {
  for (const [name, stored] of Object.entries(vectors)) {
    const codec = await structureOf(name);
    checkLayout(codec, stored, name, t);
    await checkFaces(codec, stored, name, t);
  }
}
