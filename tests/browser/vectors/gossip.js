import { fromHex, utf8 } from "../../../clients/browser/protocol/bytes.js";
import { EXPORTED_VIEW, openView, signView } from "../../../clients/browser/protocol/exported_view.js";
import {
  COMPACT_CHECKPOINT,
  CONTENT_FRAMES,
  GOSSIP_TYPES,
  LINK_FRAMES,
  VIEW,
  VIEW_BYTES_MAX,
  answerChallenge,
  compact,
  encodeGossip,
  expand,
  parseGossip,
  verifyLink,
} from "../../../clients/browser/protocol/gossip.js";
import { signerOf } from "./private_keys.js";

function checkpointOf({ size, root, signature }) {
  return { size: BigInt(size), root: fromHex(root), signature: fromHex(signature) };
}

function challengeOf({ origin, device_id, nonce }) {
  return { type: "challenge", origin: fromHex(origin), device_id: fromHex(device_id), nonce: fromHex(nonce) };
}

async function checkCheckpoints({ key, accepted, refused }, origin, t) {
  for (const one of accepted) {
    const checkpoint = checkpointOf(one.compact);
    t.equal(compact(utf8(one.note)), checkpoint, "compact checkpoint");
    t.equal(COMPACT_CHECKPOINT.encode(checkpoint), one.encoded, "encoded checkpoint");
    t.equal(COMPACT_CHECKPOINT.decode(fromHex(one.encoded)), checkpoint, "decoded checkpoint");
    t.equal(await expand(checkpoint, origin, fromHex(key)), utf8(one.note), "expanded note");
  }
  for (const one of refused) {
    const call = () => expand(checkpointOf(one.compact), fromHex(one.origin), fromHex(one.key));
    await t.refuses(one.code, call, one.why);
  }
}

async function checkFrames(vectors, t) {
  const numbers = Object.fromEntries(Object.entries(GOSSIP_TYPES).map(([name, [number]]) => [name, number]));
  t.equal(numbers, vectors.types, "numbers of frames");
  for (const { type, encoded } of vectors.frames) {
    const frame = parseGossip(fromHex(encoded));
    t.equal(GOSSIP_TYPES[frame.type][1].name, type, "type of a frame");
    t.equal(encodeGossip(frame), encoded, `encoded ${type}`);
    const [mayCome, others] = LINK_FRAMES.has(frame.type)
      ? [LINK_FRAMES, CONTENT_FRAMES]
      : [CONTENT_FRAMES, LINK_FRAMES];
    t.equal(parseGossip(fromHex(encoded), mayCome), frame, `${type} in turn`);
    await t.refuses("out-of-turn", () => parseGossip(fromHex(encoded), others), `${type} out of turn`);
  }
  for (const { why, encoded, code } of vectors.refused_frames) {
    await t.refuses(code, () => parseGossip(fromHex(encoded)), why);
  }
  await t.refuses("frame-too-large", () => parseGossip(new Uint8Array((1 << 20) + 65).fill(10)), "too large a frame");
  const largest = { checkpoint: checkpointOf(vectors.checkpoints.accepted[0].compact), cuts: [] };
  for (let i = 0n; i < 3n; i++) largest.cuts.push({ epoch: i, length: i, head: new Uint8Array(32) });
  t.equal(VIEW.encode(largest).length, vectors.largest_view, "the largest view");
  t.equal(vectors.largest_view <= VIEW_BYTES_MAX, true, "fits");
}

async function checkLink({ alice, bob, proof_of_alice, refused }, origin, signers, t) {
  const [alices, bobs] = [challengeOf(alice), challengeOf(bob)];
  const proof = await answerChallenge(signers.alice, origin, bobs);
  t.equal(proof.body, proof_of_alice.body, "proof of a link");
  t.equal(proof.signature, proof_of_alice.signature, "its signature");
  await verifyLink(proof, bobs, alices);
  for (const { why, body, signature, code } of refused) {
    const frame = { type: "link-proof", body: fromHex(body), signature: fromHex(signature) };
    await t.refuses(code, () => verifyLink(frame, bobs, alices), why);
  }
  await t.refuses("wrong-peer", () => answerChallenge(signers.alice, origin, alices), "a challenge of our own");
  const foreign = { ...bobs, origin: new Uint8Array(32) };
  await t.refuses(
    "wrong-origin",
    () => answerChallenge(signers.alice, origin, foreign),
    "another provider's challenge",
  );
}

export async function check(vectors, t) {
  const origin = fromHex(vectors.origin);
  const signers = {};
  for (const [name, seed] of Object.entries(vectors.seeds)) signers[name] = await signerOf(fromHex(seed));
  t.equal(signers.log.publicKey, vectors.checkpoints.key, "the log's key");
  await checkCheckpoints(vectors.checkpoints, origin, t);
  await checkFrames(vectors, t);
  await checkLink(vectors.link, origin, signers, t);

  const view = EXPORTED_VIEW.fromJson(vectors.exported_view.view);
  const file = fromHex(vectors.exported_view.encoded);
  t.equal(EXPORTED_VIEW.toJson(view), vectors.exported_view.view, "view in JSON");
  t.equal(await signView(signers.alice, view), file, "exported view");
  t.equal(await openView(file, origin), view, "opened view");
  await t.refuses("bad-signature", () => signView(signers.mallory, view), "another device's view");
  for (const { why, encoded, code } of vectors.refused_files) {
    await t.refuses(code, () => openView(fromHex(encoded), origin), why);
  }
}
