/**
 * Follows deltas and opens receipts as a client does, for a test that has them in Python: one JSON line in for each,
 * and one out.
 *
 * Knows nothing of what it should find. A line has a client as it stands and what it meets, all bytes in hex. What
 * comes out is what that leads to, or how it is refused.
 * @module
 */

import { createInterface } from "node:readline";
import { fromHex, toHex } from "../../clients/browser/protocol/bytes.js";
import { DELTA, RecipientLists } from "../../clients/browser/protocol/delta.js";
import { RECIPIENT_SET, Recipients, openBundle } from "../../clients/browser/protocol/envelope.js";
import { NoiseError, ProviderMisbehaved } from "../../clients/browser/protocol/errors.js";
import { Follower } from "../../clients/browser/protocol/follower.js";
import { CURSOR, RECEIPT } from "../../clients/browser/protocol/frames.js";
import { encodeTrusted, parseTrusted } from "../../clients/browser/protocol/trust.js";

async function clientOf({ origin, mailbox, trusted, counters, sets }) {
  const lists = new RecipientLists();
  lists.admit(sets.map((one) => new Recipients(RECIPIENT_SET.decode(fromHex(one)))));
  const known = new Map(Object.entries(counters).map(([sender, ctr]) => [sender, BigInt(ctr)]));
  const lastCounter = (sender) => known.get(toHex(sender)) ?? null;
  const stored = parseTrusted(fromHex(trusted));
  return { follower: await Follower.open(fromHex(origin), fromHex(mailbox), stored, { lastCounter }), lists };
}

async function follow({ follower, lists }, encoded) {
  const step = await follower.checkDelta(DELTA.decode(fromHex(encoded)), lists);
  follower.adopt(step);
  return {
    trusted: toHex(encodeTrusted(follower.trusted)),
    cursor: CURSOR.toJson(follower.cursor),
    epoch: step.epoch.toString(),
    time_ms: step.time_ms.toString(),
    counters: Object.fromEntries([...step.counters].map(([sender, ctr]) => [sender, ctr.toString()])),
    deliveries: step.deliveries.map(({ seq, sender, sender_ctr, created_ms, common, ciphertext, recipients, leaf }) => [
      ...[seq, sender, common, ciphertext, recipients.root, leaf].map(toHex),
      ...[sender_ctr, created_ms].map(String),
    ]),
  };
}

async function receive({ follower }, encoded, bundle) {
  const opened = await openBundle(fromHex(bundle), follower.origin);
  return { seqs: (await follower.checkReceipt(RECEIPT.decode(fromHex(encoded)), opened)).map(toHex) };
}

async function outcomeOf({ client, delta, receipt, bundle }) {
  const one = await clientOf(client);
  try {
    return await (delta === undefined ? receive(one, receipt, bundle) : follow(one, delta));
  } catch (error) {
    if (!(error instanceof NoiseError)) throw error;
    const evidence = error instanceof ProviderMisbehaved ? error.evidence.map(toHex) : null;
    return { code: error.code, detail: error.detail, evidence };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await outcomeOf(JSON.parse(line)))}\n`);
}
