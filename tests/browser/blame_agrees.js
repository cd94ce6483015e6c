/**
 * Runs inquiries, step by step, as `test_blame_agrees.py` wrote them: JSON on standard input, what came of each step as
 * JSON on standard output. Bytes are hex, numbers are decimal texts.
 *
 * Knows nothing of what is expected.
 * @module
 */

import { text } from "node:stream/consumers";
import { fromHex, toHex } from "../../clients/browser/protocol/bytes.js";
import { CHALLENGE, SIGNED_ADMISSION, SIGNED_CHALLENGE_RECEIPT } from "../../clients/browser/protocol/challenges.js";
import { CHALLENGE_STATUS } from "../../clients/browser/protocol/complaints.js";
import { SIGNED_ROSTER } from "../../clients/browser/protocol/delta.js";
import { NoiseError } from "../../clients/browser/protocol/errors.js";
import { CUSTODY_ANSWER } from "../../clients/browser/protocol/evidence/stage_views.js";
import { verifyProof } from "../../clients/browser/protocol/evidence/proof.js";
import { Inquiry } from "../../clients/browser/protocol/inquiry.js";
import { EPOCH_STATEMENTS } from "../../clients/browser/protocol/log_pages.js";

/** What the steps of one inquiry do. `state`: what earlier steps left. */
const STEPS = {
  questions: ({ inquiry }) => inquiry.questions,
  actors: ({ inquiry }) => inquiry.actors(),
  epochs: ({ inquiry }) => inquiry.epochs(),
  answer: ({ inquiry }, data) => inquiry.takeAnswers([CUSTODY_ANSWER.decode(data)]) ?? null,
  statements: ({ inquiry }, data) => inquiry.takeStatements(EPOCH_STATEMENTS.decode(data)) ?? null,
  admission: async ({ inquiry }, data) => (await inquiry.takeAdmission(SIGNED_ADMISSION.decode(data))) ?? null,
  judge: async (state) => (state.blame = await state.inquiry.judge()),
  verify: async (state, data) => await verifyProof(state.blame.proof, [data]),
  challenge: (state) => (state.challenge = state.inquiry.challenge(state.blame)),
  receipt: async (state, data) => {
    const receipt = SIGNED_CHALLENGE_RECEIPT.decode(data);
    state.opened = await state.inquiry.checkReceipt(state.challenge, receipt);
    return [state.opened.key, CHALLENGE.encode(state.opened.challenge)];
  },
  status: async (state, data) => {
    const found = await state.inquiry.takeStatus(state.opened, CHALLENGE_STATUS.decode(data), state.blame);
    state.blame = found ?? state.blame;
    return found;
  },
};

function readable(value) {
  if (value instanceof Uint8Array) return toHex(value);
  if (typeof value === "bigint" || typeof value === "number") return `${value}`;
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, readable(part)]));
}

async function outcomeOf(call) {
  try {
    return readable(await call());
  } catch (error) {
    if (!(error instanceof NoiseError)) throw error;
    return { refused: error.code, detail: error.detail };
  }
}

const { origin, inquiries } = JSON.parse(await text(process.stdin));
const outcomes = [];
for (const { proof, rosters, steps } of inquiries) {
  const state = {};
  const shown = rosters.map((roster) => SIGNED_ROSTER.decode(fromHex(roster)));
  const found = [
    await outcomeOf(async () => {
      state.inquiry = await Inquiry.open(fromHex(origin), fromHex(proof), shown);
      return null;
    }),
  ];
  for (const [step, data] of state.inquiry ? steps : []) {
    found.push(await outcomeOf(() => STEPS[step](state, fromHex(data))));
  }
  outcomes.push(found);
}
console.log(JSON.stringify(outcomes));
