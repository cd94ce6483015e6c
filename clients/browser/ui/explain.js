/**
 * What was checked of one delta, in plain sentences with the values that it was about.
 *
 * Knows nothing of the DOM, and checks nothing: it words what the follower has verified. Six checks, in the follower's
 * order: checkpoint, log, head, map, history, envelope.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Codec } from "../protocol/encoding.js" */
/** @import { HistoryEntry } from "../protocol/delta.js" */
/** @import { EpochHead, EpochRecord, Roster } from "../protocol/statements.js" */
/** @import { DeltaSeen, Message } from "./contract.js" */
import { toHex } from "../protocol/bytes.js";
import { parseCheckpoint } from "../protocol/checkpoint.js";
import { HISTORY_RECORD, MAILBOX_STATE } from "../protocol/history.js";
import { Actor, Role, deviceIdOf, formatId, parseActor } from "../protocol/identifiers.js";
import { base64url } from "../protocol/json_text.js";
import { EPOCH_HEAD, EPOCH_RECORD } from "../protocol/statements.js";
import { clockText, count, epochText, seqText, several } from "./wording.js";

/** @typedef {{ name: string, value: string }} Fact */

/**
 * `name`: one of the six. `facts`: the bytes, as text. `statement`: the decoded statement on its JSON face, or null.
 * @typedef {{ name: string, sentence: string, facts: Fact[], statement: unknown }} Check
 */

const LOG = new Actor(Role.LOG, 0, 0);
const SEALS = ["not sealed", "sealed", "sealed with a one-time key"];

/**
 * One line about a delta: "1 message", "gossip" (what devices tell each other about the server) or "heartbeat".
 * @param {DeltaSeen} seen
 */
export function summarize(seen) {
  if (seen.messages.length) return several(seen.messages.length, "message");
  return seen.delta.history.length ? "gossip of peers" : "heartbeat";
}

/**
 * The six checks of a delta that verified.
 * @param {DeltaSeen} seen
 * @param {Roster | null} roster in force
 * @param {(deviceId: Bytes) => string} nameOf names a device to the person who reads
 * @returns {Check[]}
 */
export function explain(seen, roster, nameOf) {
  const record = EPOCH_RECORD.decode(seen.delta.shared.record);
  const head = EPOCH_HEAD.decode(seen.delta.shared.head.body);
  const outbox = parseActor(head.actor).toString();
  return [
    explainCheckpoint(seen, roster),
    explainLog(seen, record),
    explainHead(seen, head, record, outbox),
    explainMap(seen, head, outbox),
    explainHistory(seen, outbox),
    explainEnvelope(seen, nameOf),
  ];
}

/**
 * @param {Codec<any>} codec
 * @param {Bytes} encoded
 */
function face(codec, encoded) {
  return codec.toJson(codec.decode(encoded));
}

/**
 * @param {string} name
 * @param {Uint8Array} value
 */
function hex(name, value) {
  return { name, value: toHex(value) };
}

/**
 * @param {string} name
 * @param {readonly Uint8Array[]} hashes
 */
function hashes(name, hashes) {
  return { name: `${name} (${hashes.length})`, value: hashes.length ? hashes.map(toHex).join("\n") : "none" };
}

/**
 * @param {DeltaSeen} seen
 * @param {Roster | null} roster
 * @returns {Check}
 */
function explainCheckpoint(seen, roster) {
  const note = seen.delta.shared.note;
  const checkpoint = parseCheckpoint(note)[0];
  const key = roster?.actors.find((entry) => parseActor(entry.actor).role === Role.LOG)?.key;
  const facts = [
    { name: "signed note", value: new TextDecoder().decode(note) },
    hex("root of the log", checkpoint.root),
    ...(key ? [hex(`key of ${LOG}`, key)] : []),
  ];
  const { log_name, size, root } = checkpoint;
  return {
    name: "checkpoint",
    sentence: `${LOG}, the server's public log, signed that it now holds ${several(size, "epoch")}.`,
    facts,
    statement: { log_name, size: size.toString(), root: base64url(root) },
  };
}

/**
 * @param {DeltaSeen} seen
 * @param {EpochRecord} record
 * @returns {Check}
 */
function explainLog(seen, record) {
  const before = seen.before.log.size;
  const after = seen.after.log.size;
  const newest = `The newest is epoch ${count(record.epoch)}, closed at ${clockText(record.time_ms)}.`;
  let sentence = `It continues the ${several(before, "epoch")} that this device verified before. ${newest}`;
  if (before === 0n) sentence = `It is the first that this device sees of the log. ${newest}`;
  else if (before === after) sentence = `It is the very log that this device verified before. ${newest}`;
  return {
    name: "log",
    sentence,
    facts: [
      hashes("hashes that lead here from what was verified before", seen.delta.log_hashes),
      hex("root before this epoch", record.prev_root),
      { name: "epochs verified before", value: before.toString() },
    ],
    statement: face(EPOCH_RECORD, seen.delta.shared.record),
  };
}

/**
 * @param {DeltaSeen} seen
 * @param {EpochHead} head
 * @param {EpochRecord} record
 * @param {string} outbox
 * @returns {Check}
 */
function explainHead(seen, head, record, outbox) {
  const { head: signed, head_proof } = seen.delta.shared;
  return {
    name: "head",
    sentence:
      `${outbox} signed what all its ${several(head.map_count, "mailbox", "mailboxes")} hold, and ` +
      `${several(head_proof.length, "hash", "hashes")} show that this is among the ` +
      `${several(record.statements_count, "statement")} of the epoch.`,
    facts: [
      hex(`signature of ${outbox}`, signed.signature),
      hex("root of its mailboxes", head.map_root),
      hashes("hashes from the statement to the epoch", head_proof),
    ],
    statement: face(EPOCH_HEAD, signed.body),
  };
}

/**
 * @param {DeltaSeen} seen
 * @param {EpochHead} head
 * @param {string} outbox
 * @returns {Check}
 */
function explainMap(seen, head, outbox) {
  const { state, path, other } = seen.delta;
  const n = several(path.length, "hash", "hashes");
  const found =
    path.length || head.map_count > 1n
      ? `${n} lead from this device's mailbox to the root that ${outbox} signed. In this log it has no other one: whether there is another log, peers compare.`
      : `This device's mailbox is the only one that ${outbox} keeps: its hash is the root that was signed.`;
  return {
    name: "map",
    sentence: state.length ? found : `${n} show that ${outbox} keeps no mailbox for this device: nothing ever came.`,
    facts: [
      hashes("hashes from the mailbox to the root", path),
      ...(other ? [hex("what stands in the mailbox's place", other.key)] : []),
    ],
    statement: state.length ? face(MAILBOX_STATE, state) : null,
  };
}

/**
 * @param {DeltaSeen} seen
 * @param {string} outbox
 * @returns {Check}
 */
function explainHistory(seen, outbox) {
  const { history, tail_hashes } = seen.delta;
  const state = seen.after.state;
  const records = history.map((/** @type {HistoryEntry} */ entry) => HISTORY_RECORD.decode(entry.record));
  let sentence = "There is no history yet, and none was shown.";
  if (state !== null && !records.length) {
    sentence =
      `Nothing new came, by the word of ${outbox}: it is still at ${several(state.total, "message")}, the last of ` +
      `epoch ${epochText(state.last_epoch)}.`;
  } else if (state !== null) {
    const first = records[0].k + 1n;
    const last = first + BigInt(records.length - 1);
    const which = first === last ? `record ${count(first)}` : `records ${count(first)} to ${count(last)}`;
    const end = tail_hashes.length ? ", over what is still to come" : "";
    sentence =
      `What came is ${which} of this mailbox, and leads to the state that ${outbox} signed${end}: ` +
      `nothing was left out, added or moved since ${outbox} signed it. Whether that was all of it, only peers can tell.`;
  }
  return {
    name: "history",
    sentence,
    facts: [
      ...records.map((record) => hex(`root over the messages of record ${record.k + 1n}`, record.delta_root)),
      hashes("hashes that lead over the rest", tail_hashes),
    ],
    statement: history.length ? history.map((entry) => face(HISTORY_RECORD, entry.record)) : null,
  };
}

/**
 * @param {DeltaSeen} seen
 * @param {(deviceId: Bytes) => string} nameOf
 * @returns {Check}
 */
function explainEnvelope(seen, nameOf) {
  const sections = seen.delta.history.flatMap((entry) => entry.sections);
  return {
    name: "envelope",
    sentence: wordEnvelopes(seen.messages, sections.length, nameOf),
    facts: sections.flatMap((section) => [
      { name: "position of the first message", value: seqText(section.first_seq) },
      { name: "sender", value: formatId(deviceIdOf(section.key)) },
      hex("sender's key", section.key),
      hex("sender's signature", section.signature),
      hashes("hashes from the messages to what was signed", section.proof),
    ]),
    statement: seen.messages.length ? seen.messages.map(messageFace) : null,
  };
}

/**
 * @param {Message[]} messages
 * @param {number} nSections
 * @param {(deviceId: Bytes) => string} nameOf
 */
function wordEnvelopes(messages, nSections, nameOf) {
  if (!messages.length && !nSections) return "No message came, so no sender's signature was there to check.";
  if (!messages.length) {
    return `The signatures of senders are right. What came is for this program: what peers say of the server.`;
  }
  const [first] = messages;
  if (messages.length === 1) {
    return (
      `${nameOf(first.sender)} signed it, as message ${count(first.sender_ctr)} of this sender, for ` +
      `${several(first.recipients.length, "recipient")}, this device among them. It came ${SEALS[first.seal]}.`
    );
  }
  const senders = [...new Set(messages.map((message) => nameOf(message.sender)))];
  return (
    `${several(messages.length, "message")} from ${senders.slice(0, 3).join(", ")}` +
    `${senders.length > 3 ? " and others" : ""}: each sender's signature is right, each sender's count goes up, and ` +
    `this device is among the recipients of each.`
  );
}

/** @param {Message} message */
function messageFace(message) {
  return {
    seq: seqText(message.seq),
    sender: formatId(message.sender),
    sender_ctr: message.sender_ctr.toString(),
    created_ms: message.created_ms.toString(),
    recipients: message.recipients.map(formatId),
    seal: message.seal,
  };
}
