import { EMPTY, bigEndian, concat, fromHex, toHex, zeros } from "../../../clients/browser/protocol/bytes.js";
import {
  BUNDLE_HEADER,
  BUNDLE_WIRE,
  ENVELOPE,
  Recipients,
  buildBundle,
  ciphertextLeafHashes,
  envelopeLeafHashes,
  hashBundle,
  hashCiphertext,
  hashEnvelope,
  openBundle,
  recipientLeafHashes,
} from "../../../clients/browser/protocol/envelope.js";
import { Tree, checkInclusion } from "../../../clients/browser/protocol/merkle.js";
import { hasher, signatureInput } from "../../../clients/browser/protocol/signing.js";
import { signerOf } from "./private_keys.js";
import { valueFrom } from "./structures.js";

const hashSalt = hasher("rsalt");
const hashRecipient = hasher("rcpt");

function recipientsFrom({ env_salt, device_ids }) {
  return new Recipients({ env_salt: fromHex(env_salt), device_ids: device_ids.map(fromHex) });
}

function checkSet(stored, t) {
  const members = recipientsFrom(stored);
  const { env_salt, device_ids } = members;
  t.equal(members.root, stored.root, "root of a set");
  const leaves = recipientLeafHashes(env_salt, device_ids);
  const size = BigInt(leaves.length);
  device_ids.forEach((id, i) => {
    const salt = hashSalt(env_salt, id).slice(0, 16);
    t.equal(salt, stored.salts[i], `salt of recipient ${i}`);
    t.equal(hashRecipient(salt, id), stored.hashes[i], `hash of recipient ${i}`);
    t.equal(leaves[i], stored.leaf_hashes[i], `leaf of recipient ${i}`);
    const proof = stored.proofs[i].map(fromHex);
    t.equal(new Tree(leaves).inclusion(BigInt(i)), proof, `proof of recipient ${i}`);
    checkInclusion(members.root, size, BigInt(i), leaves[i], proof);
    t.equal(members.index(id), i, `place of recipient ${i}`);
    t.equal(members.index(hashSalt(id)), -1, "place of somebody else");
  });
}

function checkMessage(bundle, i, stored, t) {
  const row = bundle.rows[i];
  t.equal(row.set_index, stored.set_index, `set of message ${i}`);
  t.equal(bundle.commons[i], stored.common, `common ciphertext ${i}`);
  const column = bundle.ciphertext_columns[i];
  t.equal(column, stored.ciphertexts.join(""), `ciphertexts ${i}`);
  const hashes = stored.ciphertexts.map((ciphertext) => toHex(hashCiphertext(fromHex(ciphertext))));
  t.equal(hashes, stored.ciphertext_hashes, `ciphertext hashes ${i}`);
  const leaves = column.length ? ciphertextLeafHashes(column, row.ciphertext_len) : [];
  t.equal(leaves, stored.ciphertext_leaf_hashes.map(fromHex), `ciphertext leaves ${i}`);
  const envelope = valueFrom(ENVELOPE, stored.envelope);
  t.equal(ENVELOPE.encode(envelope), stored.encoded, `envelope ${i}`);
  t.equal(ENVELOPE.decode(fromHex(stored.encoded)), envelope, `decoded envelope ${i}`);
  t.equal(envelope.payload_hash, bundle.payload_hashes[i], `payload hash ${i}`);
  t.equal(envelope.ciphertexts_root, bundle.ciphertexts_roots[i], `ciphertexts root ${i}`);
  t.equal(hashEnvelope(fromHex(stored.encoded)), stored.env_hash, `hash of envelope ${i}`);
  t.equal(bundle.env_hashes[i], stored.env_hash, `envelope hash ${i} of the bundle`);
  t.equal(envelopeLeafHashes([bundle.env_hashes[i]])[0], stored.leaf_hash, `leaf of envelope ${i}`);
}

function checkBundle(bundle, stored, what, t) {
  t.equal(bundle.root, stored.root, `root, ${what}`);
  t.equal(bundle.tree().root, stored.root, `root of the tree, ${what}`);
  t.equal(BUNDLE_HEADER.decode(bundle.body), valueFrom(BUNDLE_HEADER, stored.header), `header, ${what}`);
  t.equal(bundle.body, stored.body, `body, ${what}`);
  t.equal(bundle.bundle_hash, stored.bundle_hash, `hash, ${what}`);
  t.equal(hashBundle(bundle.body), stored.bundle_hash, `hash of the body, ${what}`);
  t.equal(signatureInput("bundle", bundle.origin, bundle.body), stored.signature_input, `signature input, ${what}`);
  t.equal(bundle.signature, stored.signature, `signature, ${what}`);
  t.equal(bundle.encode(), stored.encoded, `encoded, ${what}`);
  const wire = BUNDLE_WIRE.decode(bundle.encode());
  t.equal(BUNDLE_WIRE.toJson(wire), stored.json, `JSON, ${what}`);
  t.equal(BUNDLE_WIRE.fromJson(stored.json), wire, `from its JSON, ${what}`);
}

/** The bundle as its sender makes it, from what the vectors say of its messages. */
function built(vectors, signer) {
  const sets = vectors.sets.map(recipientsFrom);
  const drafts = vectors.messages.map((stored) => ({
    recipients: sets[stored.set_index],
    common: fromHex(stored.common),
    ciphertexts: stored.ciphertexts.map(fromHex),
    created_ms: BigInt(stored.envelope.created_ms),
  }));
  return buildBundle(signer, fromHex(vectors.origin), BigInt(vectors.bundle.header.first_ctr), drafts);
}

async function checkWhatIsNotBuilt(vectors, signer, t) {
  const origin = fromHex(vectors.origin);
  const [us, all] = vectors.sets.map(recipientsFrom);
  const draft = { recipients: us, common: concat(), ciphertexts: [], created_ms: 0n };
  const build = (...drafts) => buildBundle(signer, origin, 1n, drafts);
  const others = new Recipients({ env_salt: us.env_salt, device_ids: [hashSalt(origin)] });
  await t.refuses("bundle-count", () => build(), "no message");
  await t.refuses("sender-not-recipient", () => build(draft, { ...draft, recipients: others }), "without the sender");
  const one = fromHex("01");
  for (const ciphertexts of [[one], [one, concat(one, one)], [concat(), concat()], [one, one, one]]) {
    await t.refuses("malformed", () => build({ ...draft, ciphertexts }), "ciphertexts that do not fit");
  }
  await t.refuses("malformed", () => build({ ...draft, recipients: all, ciphertexts: [one, one] }), "one too few");
  const last = 2n ** 64n - 2n;
  await t.refuses("counter-overflow", () => buildBundle(signer, origin, last, [draft, draft]), "the last counter");
}

/** The limits that are too large for examples in a file. */
async function checkLimitsHold(vectors, signer, t) {
  const origin = fromHex(vectors.origin);
  const [us] = vectors.sets.map(recipientsFrom);
  const ids = Array.from({ length: 1025 }, (_, i) => concat(bigEndian(i, 2), zeros(30)));
  const setOf = (device_ids, env_salt = us.env_salt) => ({ env_salt, device_ids });
  await t.refuses("too-many-recipients", () => new Recipients(setOf(ids)), "1025 recipients");
  await t.refuses("malformed", () => new Recipients(setOf([zeros(31)])), "a short id");
  await t.refuses("malformed", () => new Recipients(setOf(us.device_ids, zeros(15))), "a short salt");
  const many = new Recipients(setOf(ids.slice(0, 1024)));
  t.equal(many.index(ids[1023]), 1023, "the last place");
  const draft = { recipients: us, common: EMPTY, ciphertexts: [], created_ms: 0n };
  const full = { ...draft, recipients: many, ciphertexts: Array(1024).fill(zeros(1)) };
  const build = (drafts) => buildBundle(signer, origin, 1n, drafts);
  t.equal((await build(Array(256).fill(draft))).count, 256, "256 messages");
  await t.refuses("bundle-count", () => build(Array(257).fill(draft)), "257 messages");
  await t.refuses("sender-not-recipient", () => build(Array(8).fill(full)), "8192 ciphertexts");
  await t.refuses("too-many-ciphertexts", () => build(Array(9).fill(full)), "9216 ciphertexts");
  const wire = BUNDLE_WIRE.decode(fromHex(vectors.bundle.encoded));
  const rows = Array.from({ length: 4 }, (_, i) => ({ ...wire.rows[1], set_index: i, common_len: 0 }));
  const sets = rows.map((_, i) => setOf(many.device_ids, concat(bigEndian(i, 8), zeros(8))));
  const open = (changes) =>
    openBundle(BUNDLE_WIRE.encode({ ...wire, commons: EMPTY, ciphertexts: EMPTY, ...changes }), origin);
  await t.refuses("sender-not-recipient", () => open({ rows, sets }), "4096 ids in all sets");
  const more = { rows: [...rows, { ...rows[0], set_index: 4 }], sets: [...sets, setOf(us.device_ids)] };
  await t.refuses("too-many-recipients", () => open(more), "4098 ids in all sets");
  await t.refuses("bundle-too-large", () => openBundle(zeros((1 << 20) + 1), origin), "more than a mebibyte");
}

export async function check(vectors, t) {
  for (const stored of vectors.sets) checkSet(stored, t);
  for (const stored of vectors.recipients) {
    t.equal(recipientsFrom(stored).root, stored.root, `root of ${stored.device_ids.length} recipients`);
  }
  const origin = fromHex(vectors.origin);
  const signer = await signerOf(fromHex(vectors.seed));
  const opened = await openBundle(fromHex(vectors.bundle.encoded), origin);
  const made = await built(vectors, signer);
  checkBundle(opened, vectors.bundle, "opened", t);
  checkBundle(made, vectors.bundle, "built", t);
  vectors.messages.forEach((stored, i) => {
    checkMessage(opened, i, stored, t);
    checkMessage(made, i, stored, t);
  });
  for (const { why, encoded, code } of vectors.refused) {
    await t.refuses(code, () => openBundle(fromHex(encoded), origin), why);
  }
  await checkWhatIsNotBuilt(vectors, signer, t);
  await checkLimitsHold(vectors, signer, t);
}
