/**
 * Reads what a provider committed to as `test_lenient_agrees.py` has it told: one JSON line in for each history entry, and
 * one out, bytes in hex.
 *
 * Knows nothing of what is expected.
 * @module
 */

import { createInterface } from "node:readline";
import { fromHex, toHex } from "../../clients/browser/protocol/bytes.js";
import { HISTORY_ENTRY, RecipientLists } from "../../clients/browser/protocol/delta.js";
import { RECIPIENT_SET } from "../../clients/browser/protocol/envelope.js";
import { NoiseError } from "../../clients/browser/protocol/errors.js";
import { committedLeaves, finder } from "../../clients/browser/protocol/evidence/lenient.js";

function outcomeOf({ origin, mailbox, sets, entry }) {
  const find = finder({ sets: sets.map((one) => RECIPIENT_SET.decode(fromHex(one))) }, new RecipientLists());
  try {
    const found = committedLeaves(HISTORY_ENTRY.decode(fromHex(entry)), fromHex(origin), fromHex(mailbox), find);
    return { leaves: found.map(({ leaf, recipients }) => [toHex(leaf), toHex(recipients.root)]) };
  } catch (error) {
    if (!(error instanceof NoiseError)) throw error;
    return { code: error.code, detail: error.detail };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(outcomeOf(JSON.parse(line))));
}
