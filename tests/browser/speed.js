/**
 * Times the verification of a stream in a page: by the follower alone, and by all that a client does with a delta.
 *
 * Knows nothing of how the stream was made: `speed.py` gives it, as frames that each have their length before them.
 * @module
 */

import { toHex } from "../../clients/browser/protocol/bytes.js";
import { RecipientLists } from "../../clients/browser/protocol/delta.js";
import { Follower, newLists } from "../../clients/browser/protocol/follower.js";
import { parseFrame } from "../../clients/browser/protocol/frames.js";
import { Signer } from "../../clients/browser/protocol/signing.js";
import { Device } from "../../clients/browser/io/device.js";
import { deleteDatabase, openDatabase } from "../../clients/browser/io/indexed_db.js";
import { OwnPrekeys, nowMs } from "../../clients/browser/io/prekeys.js";
import { Incoming } from "../../clients/browser/io/receiving.js";
import { DEFAULT_POLICY } from "../../clients/browser/io/retention.js";
import { Sealer } from "../../clients/browser/io/sealer.js";
import { StoreCalls } from "../../clients/browser/io/serial.js";
import { TrustStore, firstRows } from "../../clients/browser/io/trust_store.js";
import { Witness } from "../../clients/browser/io/witness.js";

const DATABASE = "speed";

let device;
/** What it keeps at first: each round begins with a database of it. */
let firstTables;

/** A device and the prekey that its messages are sealed for: what the stream is made for. */
export async function makeDevice() {
  const signer = await Signer.generate();
  device = new Device(signer);
  const database = await openDatabase(DATABASE, firstRows(signer.privateKey, signer.publicKey, new Uint8Array(32)));
  database.close();
  const store = await TrustStore.open(DATABASE);
  const calls = new StoreCalls(store);
  const prekey = await calls.run(() => new OwnPrekeys(device, store, calls).ownFallback());
  store.close();
  const reopened = await openDatabase(DATABASE);
  firstTables = await reopened.readAll();
  reopened.close();
  return { deviceId: toHex(device.deviceId), prekeyId: toHex(prekey.prekey_id), prekey: toHex(prekey.public) };
}

/** Origin and frames of a stream. */
export async function loadStream(url) {
  const data = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const frames = [];
  for (let pos = 32; pos < data.length;) {
    const size = new DataView(data.buffer, pos).getUint32(0);
    frames.push(data.slice(pos + 4, pos + 4 + size));
    pos += 4 + size;
  }
  return { origin: data.slice(0, 32), frames };
}

/** Milliseconds for each frame, and for all: parsed, verified by the follower, adopted, one after the other. */
export async function timeFollower({ origin, frames }) {
  const counters = new Map();
  const lastCounter = (sender) => counters.get(toHex(sender)) ?? null;
  const follower = await Follower.open(origin, device.deviceId, undefined, { lastCounter });
  const lists = new RecipientLists();
  const times = [];
  const firstMs = performance.now();
  for (const frame of frames) {
    const begunMs = performance.now();
    const { delta } = parseFrame(frame);
    const step = await follower.checkDelta(delta, lists);
    follower.adopt(step);
    lists.admit(newLists(delta));
    for (const [sender, ctr] of step.counters) counters.set(sender, ctr);
    times.push(performance.now() - begunMs);
  }
  return { times, tookMs: performance.now() - firstMs };
}

/**
 * Milliseconds until the last frame is durable: each is parsed, verified, opened, kept for evidence and stored, as in a
 * connection; the next is verified while the one before is being written. And how many messages were opened.
 */
export async function timeClient({ origin, frames }) {
  await deleteDatabase(DATABASE);
  (await openDatabase(DATABASE, firstTables)).close();
  const store = await TrustStore.open(DATABASE);
  const calls = new StoreCalls(store);
  const sealer = new Sealer(device, store, new OwnPrekeys(device, store, calls));
  let count = 0;
  const incoming = new Incoming(device, store, calls, null, {
    openSealed: (id, delivery) => sealer.open(id, delivery),
    makeWitness: async (id, trusted) => {
      const witness = new Witness(store, device.deviceId, id, trusted, DEFAULT_POLICY, nowMs);
      await witness.load();
      return witness;
    },
    onHeard: () => {},
    onSeen: ({ messages }) => (count += messages.filter(({ seal }) => seal === 1).length),
    onRefused: () => {},
  });
  const follower = await incoming.follow(origin);
  const lists = new RecipientLists();
  let stored;
  const begunMs = performance.now();
  for (const frame of frames) {
    ({ stored } = await incoming.accept(follower, parseFrame(frame).delta, lists, frame.length));
  }
  await stored;
  const tookMs = performance.now() - begunMs;
  store.close();
  return { tookMs, count };
}

/** Milliseconds for so many bare signature checks by WebCrypto, one after the other, with one key that is imported. */
export async function timeSignatures(count) {
  const { privateKey, publicKey } = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const message = new Uint8Array(250);
  const signature = await crypto.subtle.sign("Ed25519", privateKey, message);
  const begunMs = performance.now();
  for (let i = 0; i < count; i++) {
    if (!(await crypto.subtle.verify("Ed25519", publicKey, signature, message))) throw new Error("does not verify");
  }
  return performance.now() - begunMs;
}
