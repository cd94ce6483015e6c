/**
 * How the page words things: numbers, sizes, times, ids, verdicts.
 *
 * Knows nothing of the DOM.
 * @module
 */

/** @import { ClientState, Standing } from "./contract.js" */
/** @import { Step } from "../protocol/evidence/verdict.js" */
import { NO_EPOCH, formatId, parseSeq } from "../protocol/identifiers.js";

const NUMBER = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium", hour12: false });
const TIME_MS_MAX = 8_640_000_000_000_000n;

/** @param {number | bigint} value */
export function count(value) {
  return NUMBER.format(value);
}

const BRIEF = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/**
 * Short enough for a small box: 12.3K.
 * @param {number} value
 */
export function briefCount(value) {
  return value < 10_000 ? NUMBER.format(value) : BRIEF.format(value);
}

/**
 * "1 message", "2 messages".
 * @param {number | bigint} n
 * @param {string} noun
 * @param {string} [plural]
 */
export function several(n, noun, plural = `${noun}s`) {
  return `${count(n)} ${Number(n) === 1 ? noun : plural}`;
}

/** @param {bigint} epoch */
export function epochText(epoch) {
  return epoch === NO_EPOCH ? "none" : count(epoch);
}

/** @param {number} size */
export function bytesText(size) {
  if (size < 1024) return several(size, "byte");
  return size < 1 << 20 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / (1 << 20)).toFixed(1)} MiB`;
}

/** @param {number} ms */
export function millisecondsText(ms) {
  return ms < 9.95 ? `${ms.toFixed(1)} ms` : `${count(Math.round(ms))} ms`;
}

/** @param {number} ms since something happened */
export function agoText(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s ago`;
  if (s < 120) return `${Math.round(s)} s ago`;
  return s < 7200 ? `${Math.round(s / 60)} min ago` : `${Math.round(s / 3600)} h ago`;
}

/**
 * A time of day. Times that no calendar has are shown as they are.
 * @param {bigint} ms
 */
export function clockText(ms) {
  return ms > TIME_MS_MAX ? `${ms} ms` : CLOCK.format(Number(ms));
}

/** @param {bigint} ms */
export function dateText(ms) {
  return ms > TIME_MS_MAX ? `${ms} ms` : `${DATE.format(Number(ms))} (${ms} ms)`;
}

/**
 * The first letters of an id, enough to tell devices apart on a screen.
 * @param {string} id
 */
export function shortId(id) {
  return `${id.slice(0, 6)}…`;
}

/** @param {Uint8Array} seq */
export function seqText(seq) {
  return parseSeq(seq).join("/");
}

/** @param {Uint8Array} id */
export function shortBytes(id) {
  return shortId(formatId(id));
}

/** @type {Record<ClientState, string>} */
export const STATE_WORDS = {
  connecting: "connecting",
  syncing: "catching up",
  live: "live",
  backoff: "reconnecting",
  closed: "closed",
};

/**
 * How a device stands to the server. "none": it has verified nothing since it was opened. "stopped": it has ended, and
 * checks nothing any more.
 * @typedef {Standing | "none" | "stopped"} Shown
 */

/** The gravest first. @type {readonly Shown[]} */
const GRAVEST_FIRST = ["exposed", "suspected", "stopped", "stale", "none", "ok"];

/**
 * The gravest of some; of no devices: "none".
 * @param {Shown[]} standings
 * @returns {Shown}
 */
export function gravestOf(standings) {
  return GRAVEST_FIRST.find((standing) => standings.includes(standing)) ?? "none";
}

export const NO_DEVICE = { title: "No device yet", sentence: "Nothing is checked until a device is open." };
export const PEERS_AGREE = "Everything that came verifies, and peers agree.";

/** @type {Record<Shown, { title: string, sentence: string, icon: string }>} */
export const STANDINGS = {
  none: { title: "Not checked yet", sentence: "Nothing came that could be checked.", icon: "clock" },
  ok: { title: "All checks pass", sentence: "Everything that came verifies. No peer has compared yet.", icon: "check" },
  stopped: { title: "Checking stopped", sentence: "A device has stopped, and says why.", icon: "warning" },
  stale: {
    title: "No news for too long",
    sentence: "The server is down, cut off, or it withholds something.",
    icon: "clock",
  },
  suspected: {
    title: "Something is off",
    sentence: "Something does not fit. Nothing is proven yet.",
    icon: "warning",
  },
  exposed: { title: "The server lied", sentence: "There is a proof that anybody can verify.", icon: "cross" },
};

/**
 * Each class of evidence in a person's words, as `noise verify` words it.
 * @type {Record<string, string>}
 */
export const DEEDS = {
  ManifestEquivocation: "signed two versions of what it had accepted",
  StageEquivocation: "signed two versions of what it had passed on",
  StageOmission: "was given a message and did not pass it on as it was",
  StageInsertion: "passed on a message that it was not given",
  Omission: "withheld a message from one of its recipients",
  Conflict: "showed two different messages as the same one",
  AlteredMessage: "passed a message on that is not what its sender made",
  CounterViolation: "reordered or repeated a sender's messages",
  Misdelivery: "delivered a message to somebody to whom it was not addressed",
  MailboxFork: "told two histories of one mailbox",
  MailboxRollback: "took back what it had said of a mailbox",
  HistoryViolation: "told a history of a mailbox that contradicts itself",
  LogFork: "kept two different logs",
  InvalidRecord: "committed to an epoch that breaks the rules",
  RosterEquivocation: "named its actors in two ways, or after the fact",
  PosthumousStatement: "signed with a key that it had given up",
  SuppressedChallenge: "promised to log a challenge and did not",
  UnansweredChallenge: "was asked for its part, and did not answer in time",
  Admission: "accepts the blame for it",
};

/**
 * @param {string} accused
 * @param {string} provider what to call it
 */
export function accusedText(accused, provider) {
  return accused === "provider" ? provider : accused;
}

/**
 * The steps of a way by what they are about: a seq and a mailbox.
 * @param {readonly Step[]} way
 */
export function groupWay(way) {
  /** @type {{ title: string, steps: Step[] }[]} */
  const groups = [];
  for (const step of way) {
    const title = `Message ${seqText(step.seq)} for ${shortBytes(step.mailbox)}`;
    const last = groups.at(-1);
    if (last !== undefined && last.title === title) last.steps.push(step);
    else groups.push({ title, steps: [step] });
  }
  return groups;
}

/**
 * Fields of statements in a person's words; others are shown by their name.
 * @type {Record<string, string>}
 */
const FIELDS = {
  actor: "signed by",
  bundle_hash: "bundle",
  challenges_count: "challenges",
  created_ms: "written at",
  ciphertexts_root: "ciphertexts",
  delta_root: "messages, hashed",
  env_hash: "envelope",
  first_ctr: "first of the sender's count",
  gen: "generation",
  handoffs_count: "handoffs",
  hist_root: "history",
  hist_size: "records",
  incarnation: "number of the key",
  inputs: "made from",
  k: "record",
  last_epoch: "last epoch with a message",
  last_seq: "last position",
  log_name: "log",
  manifest_hash: "made from",
  map_count: "mailboxes",
  map_root: "contents of all mailboxes",
  merge_sheet_hash: "made from",
  n_envelopes: "messages in the bundle",
  n_mailboxes: "mailboxes",
  n_messages: "messages",
  n_outboxes: "outboxes",
  n_recipients: "number of recipients",
  own_ciphertexts_count: "own ciphertexts",
  own_ciphertexts_root: "own ciphertexts, hashed",
  payload_hash: "content",
  prev_epoch: "epoch of the message before",
  prev_root: "log before this epoch",
  previous: "its statement before",
  recipients_root: "recipients",
  root: "contents",
  roster_hash: "roster",
  sender_ctr: "sender's count",
  seq: "position",
  since_epoch: "began in epoch",
  statements_count: "statements",
  statements_root: "statements, hashed",
  time_ms: "time",
  total: "messages in all",
};

/** @param {string} name of a statement's field */
export function fieldText(name) {
  return FIELDS[name] ?? name.replaceAll("_", " ");
}
