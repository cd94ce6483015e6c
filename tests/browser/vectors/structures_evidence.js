import { StructCodec } from "../../../clients/browser/protocol/encoding.js";
import { describe } from "./structures.js";

/** Every structure of evidence is laid out as it is described, and no other is there. */
export async function check(vectors, t) {
  const codecs = new Map();
  for (const file of new Set(Object.keys(vectors).map((name) => name.split(".")[0]))) {
    const module = await import(`../../../clients/browser/protocol/evidence/${file}.js`);
    const owned = Object.values(module).filter((value) => value instanceof StructCodec);
    for (const codec of owned) if (!codecs.has(codec.name)) codecs.set(codec.name, codec);
  }
  for (const [name, { record_type, fields }] of Object.entries(vectors)) {
    const codec = codecs.get(name.split(".")[1]);
    codecs.delete(name.split(".")[1]);
    t.equal(codec?.recordType, record_type, `${name}: record type`);
    t.equal(
      codec?.fields.map(([field]) => field),
      Object.keys(fields),
      `${name}: order of fields`,
    );
    t.equal(
      Object.fromEntries(codec.fields.map(([field, part]) => [field, describe(part)])),
      fields,
      `${name}: fields`,
    );
  }
  t.equal([...codecs.keys()], [], "structures that are not described");
}
