import { EMPTY, fromHex } from "../../../clients/browser/protocol/bytes.js";
import { DELTA, RecipientLists } from "../../../clients/browser/protocol/delta.js";
import { Follower, newLists } from "../../../clients/browser/protocol/follower.js";
import { CURSOR, START } from "../../../clients/browser/protocol/frames.js";
import { NOTHING, encodeTrusted, parseTrusted } from "../../../clients/browser/protocol/trust.js";
import { valueFrom } from "./structures.js";

const lastCounter = () => null;

export async function check(vectors, t) {
  const origin = fromHex(vectors.origin);
  const mailbox = fromHex(vectors.mailbox);
  const follower = await Follower.open(origin, mailbox, NOTHING, { lastCounter });
  const lists = new RecipientLists();
  t.equal(follower.cursor, START, "cursor before anything came");
  for (const [i, stored] of vectors.deltas.entries()) {
    const delta = DELTA.decode(fromHex(stored.encoded));
    t.equal(DELTA.encode(delta), stored.encoded, `delta ${i}`);
    t.equal(DELTA.encode(DELTA.fromJson(DELTA.toJson(delta))), stored.encoded, `delta ${i} by way of its JSON`);
    await checkRefusals(follower, delta, lists, t);
    const step = await follower.checkDelta(delta, lists);
    t.equal(step.epoch, BigInt(stored.epoch), `epoch of delta ${i}`);
    t.equal(step.time_ms, BigInt(stored.time_ms), `time of delta ${i}`);
    t.equal(
      step.deliveries.map((delivery) => delivery.seq),
      stored.seqs.map(fromHex),
      `positions in delta ${i}`,
    );
    follower.adopt(step);
    lists.admit(newLists(delta));
    t.equal(follower.cursor, valueFrom(CURSOR, stored.cursor), `cursor after delta ${i}`);
    t.equal(follower.trusted.isComplete, true, `nothing to catch up after delta ${i}`);
    await checkStored(follower, `what is trusted after delta ${i}`, t);
  }
}

/** What a client stores of its trust comes back, at this origin and at no other. */
async function checkStored(follower, what, t) {
  const { origin, mailbox, trusted, cursor } = follower;
  const stored = encodeTrusted(trusted);
  const restored = parseTrusted(stored);
  t.equal(encodeTrusted(restored), stored, `${what}, stored again`);
  t.equal((await Follower.open(origin, mailbox, restored, { lastCounter })).cursor, cursor, `${what}, restored`);
  const elsewhere = () => Follower.open(mailbox, mailbox, restored, { lastCounter });
  await t.refuses("wrong-origin", elsewhere, `${what}, at another origin`);
  const damaged = stored.map((byte, i) => (i === 100 ? byte ^ 1 : byte));
  await t.refuses("malformed", () => parseTrusted(damaged), `${what}, damaged`);
}

/** Changed in some places, a delta is refused, and nothing has happened. */
async function checkRefusals(follower, delta, lists, t) {
  const before = encodeTrusted(follower.trusted);
  const { shared } = delta;
  const signature = shared.head.signature.map((byte, i) => (i === 7 ? byte ^ 1 : byte));
  const cases = [
    ["malformed", { shared: { ...shared, note: EMPTY } }],
    ["bad-signature", { shared: { ...shared, head: { ...shared.head, signature } } }],
    ["bad-proof", { shared: { ...shared, head_proof: shared.head_proof.slice(1) } }],
    ["bad-proof", { log_hashes: [...delta.log_hashes, follower.origin] }],
    ["bad-map-proof", { state: EMPTY, other: null }],
  ];
  if (delta.history.length) cases.push(["bad-proof", { history: [] }]);
  for (const [code, changes] of cases) {
    await t.refuses(code, () => follower.checkDelta({ ...delta, ...changes }, lists), `${code} instead of a delta`);
  }
  t.equal(encodeTrusted(follower.trusted), before, "nothing of what was refused is trusted");
}
