import { fromHex, toHex, utf8, zeros } from "../../../clients/browser/protocol/bytes.js";
import {
  ACK_BODY,
  AUTH_PROOF,
  FRAME_TYPES,
  encodeFrame,
  encodeFrameJson,
  parseFrame,
  parseFrameJson,
} from "../../../clients/browser/protocol/frames.js";
import { deviceIdOf } from "../../../clients/browser/protocol/identifiers.js";
import { FRAME_BYTES_MAX } from "../../../clients/browser/protocol/limits.js";
import { PushRole, PushSession, PushState, TRANSITIONS } from "../../../clients/browser/protocol/push_session.js";
import { verifyStrict } from "../../../clients/browser/protocol/signing.js";
import { signerOf } from "./private_keys.js";

const NO_FRAMES = new Set();

export async function check(vectors, t) {
  const numbers = Object.fromEntries(Object.entries(FRAME_TYPES).map(([name, [number]]) => [name, number]));
  t.equal(numbers, vectors.types, "numbers of the types");
  const frames = new Map();
  for (const stored of vectors.frames) {
    const frame = parseFrame(fromHex(stored.encoded));
    frames.set(frame.type, frame);
    await checkFrame(frame, stored, t);
  }
  t.equal([...frames.keys()], Object.keys(FRAME_TYPES), "an example of each type");
  for (const { why, encoded, code } of vectors.refused) {
    await t.refuses(code, () => parseFrame(fromHex(encoded)), why);
  }
  for (const { why, json, code } of vectors.refused_json) {
    await t.refuses(code, () => parseFrameJson(json), `JSON: ${why}`);
  }
  for (const text of ["\ud800", '{"type":"ping","token":"\udfff"}', '{"type":"\ud800"}']) {
    await t.refuses("malformed", () => parseFrameJson(text), "a lone surrogate");
  }
  await t.refuses("frame-too-large", () => parseFrame(zeros(FRAME_BYTES_MAX + 1)), "too many bytes");
  await t.refuses("frame-too-large", () => parseFrameJson(" ".repeat(2 * FRAME_BYTES_MAX + 1)), "too long a text");
  await checkSigned(vectors, frames, t);
  for (const binary of [true, false]) await checkSessions(frames, binary, t);
}

async function checkFrame(frame, stored, t) {
  const what = `a ${stored.type}`;
  t.equal(FRAME_TYPES[frame.type][1].name, stored.type, what);
  t.equal(encodeFrame(frame), stored.encoded, `encoding of ${what}`);
  t.equal(toHex(utf8(encodeFrameJson(frame))), toHex(utf8(stored.json)), `JSON of ${what}`);
  t.equal(parseFrameJson(stored.json), frame, `${what} by way of its JSON`);
  await t.refuses("out-of-turn", () => parseFrame(fromHex(stored.encoded), NO_FRAMES), `${what} out of turn`);
  await t.refuses("out-of-turn", () => parseFrameJson(stored.json, NO_FRAMES), `JSON of ${what} out of turn`);
}

/** What the device signed is what it signs here. */
async function checkSigned(vectors, frames, t) {
  const signer = await signerOf(fromHex(vectors.seed));
  const deviceId = deviceIdOf(signer.publicKey);
  for (const [label, codec, signed] of [
    ["auth", AUTH_PROOF, frames.get("auth").proof],
    ["ack", ACK_BODY, frames.get("ack")],
  ]) {
    const value = codec.decode(signed.body);
    t.equal([value.device_id, value.key], [deviceId, signer.publicKey], `who signs the ${label}`);
    const again = await signer.sign(label, value.origin, codec.encode(value));
    t.equal(again.signature, signed.signature, `signature of the ${label}`);
    await verifyStrict(signer.publicKey, signed.signature, label, value.origin, signed.body);
  }
}

/** Every state, sender and frame is in the table, or is refused. */
async function checkSessions(frames, binary, t) {
  const roles = Object.values(PushRole);
  for (const state of Object.values(PushState)) {
    for (const sender of roles) {
      for (const frame of frames.values()) {
        const [ours, theirs] = [sender, roles.find((role) => role !== sender)].map((role) => {
          const session = new PushSession(role, { binary });
          session.state = state;
          return session;
        });
        const row = TRANSITIONS.find(([from, by, type]) => from === state && by === sender && type === frame.type);
        const payload = binary ? encodeFrame(frame) : encodeFrameJson(frame);
        const what = `${frame.type} of a ${sender} while ${state}`;
        if (row === undefined) {
          await t.refuses("out-of-turn", () => ours.send(frame), `sending ${what}`);
          await t.refuses("out-of-turn", () => theirs.receive(payload), `receiving ${what}`);
        } else {
          t.equal(ours.send(frame), payload, `payload of ${what}`);
          t.equal(theirs.receive(payload), frame, `received ${what}`);
        }
        t.equal([ours.state, theirs.state], Array(2).fill(row === undefined ? state : row[3]), `state after ${what}`);
      }
    }
  }
  const session = new PushSession(PushRole.CLIENT, { binary });
  const challenge = frames.get("challenge");
  const mixed = binary ? encodeFrameJson(challenge) : encodeFrame(challenge);
  await t.refuses("wrong-frame-kind", () => session.receive(mixed), "the other face");
  t.equal(session.state, PushState.GREETING, "nothing came");
}
