import { readBigEndian, utf8 } from "../../../clients/browser/protocol/bytes.js";
import * as challenges from "../../../clients/browser/protocol/challenges.js";
import { StructCodec } from "../../../clients/browser/protocol/encoding.js";
import * as envelope from "../../../clients/browser/protocol/envelope.js";
import * as kinds from "../../../clients/browser/protocol/evidence/kinds.js";
import * as exportedView from "../../../clients/browser/protocol/exported_view.js";
import * as frames from "../../../clients/browser/protocol/frames.js";
import * as gossip from "../../../clients/browser/protocol/gossip.js";
import * as history from "../../../clients/browser/protocol/history.js";
import * as prekeys from "../../../clients/browser/protocol/prekeys.js";
import { HASH_LABELS, SIGNATURE_LABELS, hasher, tag } from "../../../clients/browser/protocol/signing.js";
import * as statements from "../../../clients/browser/protocol/statements.js";

const MODULES = [challenges, envelope, kinds, exportedView, frames, gossip, history, prekeys, statements];

export async function check(vectors, t) {
  t.equal([...HASH_LABELS].sort(), Object.keys(vectors.hashes), "hash labels");
  t.equal([...SIGNATURE_LABELS].sort(), Object.keys(vectors.signatures), "signature labels");
  for (const [label, { name, tag: expected, hash_of_abc }] of Object.entries(vectors.hashes)) {
    t.equal(`${vectors.prefix}${name}`, `noise-seq/1/h/${label}`, `name of the hash ${label}`);
    t.equal(tag(name), expected, `tag of the hash ${label}`);
    t.equal(hasher(label)(utf8("abc")), hash_of_abc, `hash ${label}`);
    t.equal(hasher(label)(utf8("a"), utf8("bc")), hash_of_abc, `hash ${label} of parts`);
  }
  for (const [label, { name, tag: expected }] of Object.entries(vectors.signatures)) {
    t.equal(`${vectors.prefix}${name}`, `noise-seq/1/sig/${label}`, `name of the signature ${label}`);
    t.equal(tag(name), expected, `tag of the signature ${label}`);
  }
  const exported = MODULES.flatMap((module) => Object.entries(module));
  const structures = exported.map(([, value]) => value).filter((value) => value instanceof StructCodec);
  const types = structures.filter((one) => one.recordType !== null).map((one) => [one.name, one.recordType]);
  t.equal(Object.fromEntries(types), vectors.record_types, "record types");
  const leaves = exported.filter(([name, value]) => name.endsWith("_LEAF") && value instanceof Uint8Array);
  const leafTypes = leaves.map(([name, value]) => [name.slice(0, -5).toLowerCase(), Number(readBigEndian(value))]);
  t.equal(Object.fromEntries(leafTypes), vectors.leaf_types, "leaf types");
}
