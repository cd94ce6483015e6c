/**
 * What a proof shows, as pairs of signed statements that contradict each other: who signed them, and where they differ.
 *
 * Knows nothing of the DOM, and judges nothing: the verifier has accepted the proof before it is asked for its words.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { StructCodec } from "../protocol/encoding.js" */
/** @import { HeadOpening, LeafOpening, LogOpening } from "../protocol/evidence/openings.js" */
/** @import { RecordOpening, StateOpening } from "../protocol/evidence/openings.js" */
/** @import { Step, Verdict } from "../protocol/evidence/verdict.js" */
/** @import { Signed } from "../protocol/signing.js" */
import { equal, toHex } from "../protocol/bytes.js";
import { ADMISSION_BODY, CHALLENGE, CHALLENGE_RECEIPT, CHALLENGE_STATE } from "../protocol/challenges.js";
import { parseCheckpoint } from "../protocol/checkpoint.js";
import { BUNDLE_HEADER, ENVELOPE } from "../protocol/envelope.js";
import { KINDS, PROOF } from "../protocol/evidence/proof.js";
import { HISTORY_RECORD, MAILBOX_STATE } from "../protocol/history.js";
import { Actor, NO_EPOCH, Role, formatId, parseActor } from "../protocol/identifiers.js";
import {
  EPOCH_HEAD,
  EPOCH_OPEN,
  EPOCH_RECORD,
  MANIFEST,
  MERGE_SHEET,
  MESSAGE_LEAF,
  ROSTER,
  ROUTE_SHEET,
  hashRoster,
} from "../protocol/statements.js";
import { count, dateText, epochText, seqText, several, shortBytes } from "./wording.js";

/** `value`: abbreviated, for a person. @typedef {{ name: string, value: string, differs: boolean }} Field */

/**
 * One of the statements. `epoch`: null where it is of none.
 * @typedef {object} Side
 * @property {string} title
 * @property {string} signer
 * @property {bigint | null} epoch
 * @property {Field[]} fields
 * @property {unknown} statement decoded, on its JSON face
 * @property {boolean} [isEmpty] it says that there is nothing
 * @property {string} [says] what it comes to, in a sentence
 */

/** @typedef {{ title: string, sides: Side[] }} Contradiction */

const GIVEN_AND_PASSED = "What it was given, and what it passed on";
const LOG = new Actor(Role.LOG, 0, 0).toString();
const ACTORS = new Set(["actor", "inbox", "outbox"]);
const DEVICES = new Set(["sender", "mailbox", "device_id"]);

/**
 * What a stage is given, and what shows what it made of it.
 * @type {Record<string, string[]>}
 */
const PASSES = {
  router: ["sequenced", "routed"],
  receiver: ["routed", "merged"],
  outbox: ["merged", "delivered", "absent"],
};

/** @type {StructCodec<any>[]} */
const SIGNED_CODECS = [
  ...[MANIFEST, ROUTE_SHEET, MERGE_SHEET, EPOCH_HEAD, EPOCH_OPEN, ROSTER],
  ...[CHALLENGE_RECEIPT, ADMISSION_BODY],
];

/** @type {Record<string, string>} */
const STATEMENT_NAMES = {
  Manifest: "what it took in",
  RouteSheet: "how it sorted it",
  MergeSheet: "what it merged",
  EpochHead: "what its mailboxes hold",
  EpochOpen: "how the epoch runs",
  Roster: "who signs for the server",
  ChallengeReceipt: "that a challenge is in the log",
  AdmissionBody: "that it takes the blame",
};

/**
 * What a verified proof puts side by side, the most telling first. `verdict`: what the verifier made of it.
 * @param {Bytes} data
 * @param {Verdict} verdict
 * @returns {Contradiction[]}
 */
export function contradictionsOf(data, verdict) {
  const proof = PROOF.decode(data);
  const kind = KINDS.get(proof.kind);
  if (kind === undefined) return [];
  const finding = kind.codec.decode(proof.body);
  const rosters = new Map(proof.rosters.map((one) => [toHex(hashRoster(one.body)), one]));
  const found = contradictionsIn(proof.kind, finding, rosters, verdict);
  return found.length ? found : [{ title: "What was signed", sides: signedIn(finding).slice(0, 2).map(signedSide) }];
}

/**
 * @param {string} kind
 * @param {any} finding
 * @param {Map<string, Signed>} rosters
 * @param {Verdict} verdict
 * @returns {Contradiction[]}
 */
function contradictionsIn(kind, finding, rosters, verdict) {
  if (kind === "BlameTrail") {
    return [...trailPair(finding, verdict), ...under("What gave it away", finding.case, verdict)];
  }
  if (kind === "Admission") {
    return [
      { title: "What it admits", sides: [signedSide(finding.admission)] },
      ...under("What it is about", finding.proof, verdict),
    ];
  }
  const sides = sidesOf(kind, finding, rosters);
  if (sides.length === 1) return [{ title: "What it signed", sides }];
  const title = kind === "StageOmission" || kind === "StageInsertion" ? GIVEN_AND_PASSED : "The two statements";
  return sides.length ? [{ title, sides: compareSides(sides) }] : [];
}

/**
 * @param {string} title
 * @param {Bytes} data
 * @param {Verdict} verdict
 */
function under(title, data, verdict) {
  return contradictionsOf(data, verdict).map((one) => ({ ...one, title }));
}

/** @param {any} finding */
function wordAddressee({ recipient }) {
  const number = count(recipient.place + 1);
  return `It is for ${shortBytes(recipient.device_id)} too: recipient ${number}, by its sender's word.`;
}

/**
 * A side whose telling fields are marked, for statements that have no fields in common.
 * @param {Side} one
 * @param {...string} names
 */
function marked(one, ...names) {
  return { ...one, fields: one.fields.map((field) => ({ ...field, differs: names.includes(field.name) })) };
}

/**
 * @param {string} kind
 * @param {any} finding
 * @param {Map<string, Signed>} rosters
 * @returns {Side[]}
 */
function sidesOf(kind, finding, rosters) {
  switch (kind) {
    case "ManifestEquivocation":
    case "StageEquivocation":
      return [signedSide(finding.one), signedSide(finding.other)];
    case "Omission":
      return [
        { ...marked(committedSide(finding.message), "seq"), says: wordAddressee(finding) },
        absenceSide(finding.absence, finding.recipient.device_id),
      ];
    case "Conflict":
    case "CounterViolation":
      return [committedSide(finding.one), committedSide(finding.other)];
    case "AlteredMessage":
      return [committedSide(finding.message), originalSide(finding)];
    case "Misdelivery":
      return [leafSide(finding.message), recipientsSide(finding)];
    case "MailboxFork":
      return [...finding.states.map(stateSide), ...finding.records.map(recordSide)];
    case "MailboxRollback":
      return [stateSide(finding.one), stateSide(finding.other)];
    case "HistoryViolation":
      return historySides(finding);
    case "LogFork":
      return forkSides(finding);
    case "InvalidRecord":
      return [logSide(finding.record), ...(finding.other ? [logSide(finding.other)] : [noteSide(finding.record.note)])];
    case "StageOmission":
    case "StageInsertion":
      return custodySides(finding.custody, finding.question.mailbox);
    case "RosterEquivocation":
      return rosterSides(finding, rosters);
    case "PosthumousStatement":
      return [finding.statement ? signedSide(finding.statement) : noteSide(finding.note), logSide(finding.record)];
    case "UnansweredChallenge":
      return [
        side("It was asked", LOG, null, CHALLENGE, finding.challenge),
        side("It is still open", LOG, null, CHALLENGE_STATE, finding.state),
      ];
    case "SuppressedChallenge":
      return [signedSide(finding.receipt), logSide(finding.log)];
    default:
      return [];
  }
}

/**
 * @param {string} name
 * @param {any} value
 */
function show(name, value) {
  if (typeof value === "bigint") {
    if (name.endsWith("_ms")) return dateText(value);
    return value === NO_EPOCH ? "none" : count(value);
  }
  if (value instanceof Uint8Array) {
    if (ACTORS.has(name)) return parseActor(value).toString();
    if (value.length === 16) return seqText(value);
    if (DEVICES.has(name) || name === "origin") return shortBytes(value);
    const hex = toHex(value);
    return hex.length > 24 ? `${hex.slice(0, 16)}…${hex.slice(-4)}` : hex;
  }
  if (Array.isArray(value)) return several(value.length, "entry", "entries");
  if (typeof value === "object" && value !== null) return JSON.stringify(value);
  return typeof value === "number" ? count(value) : String(value);
}

/**
 * A side from an encoded structure.
 * @param {string} title
 * @param {string} signer
 * @param {bigint | null} epoch
 * @param {StructCodec<any>} codec
 * @param {Bytes} encoded
 * @returns {Side}
 */
function side(title, signer, epoch, codec, encoded) {
  let value;
  try {
    value = codec.decode(encoded);
  } catch {
    return plainSide(title, signer, epoch, { bytes: toHex(encoded) });
  }
  const fields = codec.fields.map(([name]) => ({ name, value: show(name, value[name]), differs: false }));
  return { title, signer, epoch, fields, statement: codec.toJson(value) };
}

/**
 * A side in words of our own.
 * @param {string} title
 * @param {string} signer
 * @param {bigint | null} epoch
 * @param {Record<string, string>} texts
 * @returns {Side}
 */
function plainSide(title, signer, epoch, texts) {
  const fields = Object.entries(texts).map(([name, value]) => ({ name, value, differs: false }));
  return { title, signer, epoch, fields, statement: texts };
}

/**
 * Marks the fields that both have and that differ. Where one side has nothing, all of the other's differ.
 * @param {Side[]} sides
 */
function compareSides(sides) {
  if (sides.length !== 2) return sides;
  const [one, other] = sides;
  for (const field of one.fields) {
    const twin = other.fields.find(({ name }) => name === field.name);
    if (twin !== undefined && isOther(field, twin, one, other)) field.differs = twin.differs = true;
  }
  return sides;
}

/**
 * @param {Field} field
 * @param {Field} twin
 * @param {Side} one
 * @param {Side} other
 */
function isOther(field, twin, one, other) {
  const whole = /** @type {Record<string, unknown>[]} */ ([one.statement, other.statement]).map(
    (statement) => statement?.[field.name],
  );
  return field.value !== twin.value || JSON.stringify(whole[0]) !== JSON.stringify(whole[1]);
}

/** @param {Signed} signed */
function signedSide(signed) {
  const codec = SIGNED_CODECS.find(
    ({ recordType }) => recordType === new DataView(signed.body.buffer, signed.body.byteOffset).getUint16(0),
  );
  if (codec === undefined) return plainSide("A statement", "unknown", null, { bytes: toHex(signed.body) });
  const value = codec.decode(signed.body);
  const signer = codec === ROSTER ? "root" : parseActor(value.actor).toString();
  const epoch = value.epoch ?? value.valid_from_epoch ?? null;
  return side(`It signed ${STATEMENT_NAMES[codec.name]}`, signer, epoch, codec, signed.body);
}

/** @param {HeadOpening} opening */
function signerOf(opening) {
  return parseActor(EPOCH_HEAD.decode(opening.head.body).actor).toString();
}

/** @param {any} committed */
function committedSide(committed) {
  return committed.delivered ? leafSide(committed.delivered) : sequencedSide(committed.sequenced, "It took this in");
}

/**
 * @param {any} sequenced
 * @param {string} title
 */
function sequencedSide(sequenced, title) {
  const manifest = MANIFEST.decode(sequenced.manifest.body);
  return side(title, parseActor(manifest.actor).toString(), manifest.epoch, MESSAGE_LEAF, sequenced.leaf);
}

/** @param {LeafOpening} opening */
function leafSide(opening) {
  const { state, record } = opening.record;
  const title = `It delivered this to ${shortBytes(state.mailbox)}`;
  return side(title, signerOf(state.head), HISTORY_RECORD.decode(record).epoch, MESSAGE_LEAF, opening.leaf);
}

/** @param {StateOpening} opening */
function stateSide(opening) {
  const epoch = opening.head.log.place;
  const title = `What it said of ${shortBytes(opening.mailbox)}`;
  const signer = signerOf(opening.head);
  if (!opening.state.length) {
    const nothing = plainSide(`It said that there is no mailbox of ${shortBytes(opening.mailbox)}`, signer, epoch, {});
    return { ...nothing, statement: null, isEmpty: true };
  }
  return side(title, signer, epoch, MAILBOX_STATE, opening.state);
}

/** @param {RecordOpening} opening */
function recordSide(opening) {
  const title = `What it said came to ${shortBytes(opening.state.mailbox)}`;
  return side(title, signerOf(opening.state.head), opening.state.head.log.place, HISTORY_RECORD, opening.record);
}

/**
 * @param {any} absence
 * @param {Bytes} deviceId
 */
function absenceSide(absence, deviceId) {
  const shown = absence.state ? stateSide(absence.state) : recordSide(absence.record);
  const isWithin = absence.before !== null || absence.after !== null;
  const telling = isWithin ? ["epoch", "n_messages", "delta_root"] : ["epoch", "last_epoch", "prev_epoch"];
  const title = `It said that it did not come to ${shortBytes(deviceId)}`;
  return { ...marked(shown, ...telling), title, says: wordAbsence(absence) };
}

/** @param {any} absence */
function wordAbsence({ state, record, before, after }) {
  if (state !== null) {
    const asOf = `As of epoch ${count(state.head.log.place)}`;
    if (!state.state.length) return `${asOf} it kept no such mailbox.`;
    return `${asOf} nothing had come there since epoch ${epochText(MAILBOX_STATE.decode(state.state).last_epoch)}.`;
  }
  const { epoch, prev_epoch } = HISTORY_RECORD.decode(record.record);
  if (before !== null || after !== null) return `What it delivered there in epoch ${count(epoch)} goes without it.`;
  const since = prev_epoch === NO_EPOCH ? "ever before" : `since epoch ${count(prev_epoch)}`;
  return `When something came there in epoch ${count(epoch)}, nothing had ${since}.`;
}

/** @param {any} finding */
function originalSide(finding) {
  const [codec, encoded] = finding.envelope.length ? [ENVELOPE, finding.envelope] : [BUNDLE_HEADER, finding.header];
  return side("What its sender made", "the sender", null, codec, encoded);
}

/** @param {any} finding */
function recipientsSide(finding) {
  const ids = finding.recipients.map((/** @type {any} */ one) => formatId(one.device_id));
  const texts = { recipients: ids.length ? `among them, next to each other: ${ids.join(", ")}` : "none" };
  return plainSide("Whom its sender addressed", "the sender", null, texts);
}

/** @param {any} finding */
function forkSides(finding) {
  const notes = finding.notes.map(noteSide);
  const records = finding.records.map(logSide);
  if (!notes.length || !records.length) return [...notes, ...records];
  return [marked(notes[0], "root"), marked(records[0], "prev_root")]; // both say what the log was before this epoch
}

/** @param {any} finding */
function historySides(finding) {
  const sides = [];
  if (finding.record) sides.push(recordSide(finding.record));
  if (finding.state) sides.push(stateSide(finding.state));
  if (finding.other) sides.push(recordSide(finding.other));
  for (const placed of finding.leaves) {
    sides.push(side("A message that it says came", sides[0].signer, sides[0].epoch, MESSAGE_LEAF, placed.leaf));
  }
  return sides;
}

/** @param {Bytes} note */
function noteSide(note) {
  const { log_name, size, root } = parseCheckpoint(note)[0];
  const texts = { log_name, size: count(size), root: show("root", root) };
  return plainSide(`A log of ${several(size, "epoch")}`, LOG, size - 1n, texts);
}

/** @param {LogOpening} opening */
function logSide(opening) {
  return side(`Epoch ${count(opening.place)} in its log`, LOG, opening.place, EPOCH_RECORD, opening.record);
}

/**
 * @param {any} finding
 * @param {Map<string, Signed>} rosters
 */
function rosterSides(finding, rosters) {
  const pair = [finding.one, finding.other].map((hash) => rosters.get(toHex(hash)));
  const sides = pair.flatMap((one) => (one === undefined ? [] : [signedSide(one)]));
  return finding.record ? [...sides.slice(0, 1), logSide(finding.record)] : sides;
}

/**
 * What a stage was given, and what it made of it. With one sheet alone: that.
 * @param {any} custody
 * @param {Bytes} mailbox that it is about
 * @returns {Side[]}
 */
function custodySides({ sequenced = null, routed = null, merged = null, delivered = null, absent = null }, mailbox) {
  const sides = [];
  if (sequenced !== null) sides.push(manifestSide(sequenced, mailbox));
  if (routed !== null) sides.push(sheetSide(routed, ROUTE_SHEET));
  if (merged !== null) sides.push(sheetSide(merged, MERGE_SHEET));
  if (delivered !== null) sides.push({ ...leafSide(delivered), title: "this message" });
  if (absent !== null) sides.push(missingSide(absent));
  const actor = sides.at(-1)?.signer;
  const titles = [...(sides.length > 1 ? [`Given to ${actor}`] : []), `Passed on by ${actor}`];
  return sides.map((one, i) => ({ ...one, title: `${titles[i]}: ${one.title}` }));
}

/**
 * @param {any} view
 * @param {Bytes} mailbox
 * @returns {Side}
 */
function manifestSide({ message, recipients, ended }, mailbox) {
  const manifest = MANIFEST.decode((message ?? ended).manifest.body);
  const nothing = nothingThere(parseActor(manifest.actor).toString(), manifest.epoch);
  if (message === null) return nothing;
  const isForMailbox = recipients.length === 1 && equal(recipients[0].device_id, mailbox);
  if (isForMailbox) return sequencedSide(message, "this message");
  return {
    ...nothing,
    title: `nothing for ${shortBytes(mailbox)}`,
    says: "The message at this position is for others.",
  };
}

/**
 * @param {any} view
 * @param {StructCodec<any>} codec
 */
function sheetSide(view, codec) {
  const sheet = codec.decode(view.sheet.body);
  const signer = parseActor(sheet.actor).toString();
  if (!view.content.leaf) return nothingThere(signer, sheet.epoch);
  return side("this message", signer, sheet.epoch, MESSAGE_LEAF, view.content.leaf.leaf);
}

/** @param {any} absent */
function missingSide(absent) {
  const { head } = absent.state ?? absent.record.state;
  return { ...nothingThere(signerOf(head), head.log.place), says: wordAbsence(absent) };
}

/**
 * @param {string} signer
 * @param {bigint} epoch
 */
function nothingThere(signer, epoch) {
  const shown = plainSide("nothing at this position", signer, epoch, {});
  return { ...shown, statement: null, isEmpty: true };
}

/**
 * Of a trail, what convicts its actor: one stage's input and output, or two statements for one slot.
 * @param {any} trail
 * @param {Verdict} verdict
 * @returns {Contradiction[]}
 */
function trailPair(trail, verdict) {
  const lie = verdict.way.find((step) => step.is_lie);
  const sides = lie === undefined ? [] : stagePair(trail.answers, lie);
  if (sides.length) return [{ title: GIVEN_AND_PASSED, sides }];
  const statements = signedIn(trail.answers);
  for (const one of statements) {
    const other = statements.find((two) => isSameSlot(one, two) && !equal(one.body, two.body));
    if (other) return [{ title: "The two statements", sides: compareSides([signedSide(one), signedSide(other)]) }];
  }
  return [];
}

/**
 * What the liar was given and what it made of it, among all that was answered to the question that it lied about.
 * @param {any[]} answers
 * @param {Step} lie
 */
function stagePair(answers, lie) {
  const stages = answers
    .filter(({ question }) => equal(question.seq, lie.seq) && equal(question.mailbox, lie.mailbox))
    .flatMap((answer) => answer.stages);
  const [givenName, ...madeNames] = PASSES[lie.actor.split("-")[0]] ?? [];
  for (const given of viewsOf(stages, givenName)) {
    for (const made of madeNames.flatMap((name) => viewsOf(stages, name))) {
      const sides = compareSides(custodySides({ ...given, ...made }, lie.mailbox));
      const isTelling = sides.some((one) => one.isEmpty || one.fields.some(({ differs }) => differs));
      if (isTelling && sides[1].signer === lie.actor) return sides;
    }
  }
  return [];
}

/**
 * The views of one name among what stages answered, each as a custody of nothing else.
 * @param {any[]} stages
 * @param {string} name
 */
function viewsOf(stages, name) {
  return stages.filter((stage) => stage[name] !== null).map((stage) => ({ [name]: stage[name] }));
}

/**
 * Both begin with the same record type, origin, actor, incarnation and epoch.
 * @param {Signed} one
 * @param {Signed} other
 */
function isSameSlot(one, other) {
  const size = 2 + 32 + 5 + 4 + 8;
  return equal(one.body.subarray(0, size), other.body.subarray(0, size));
}

/**
 * Everything in a value that has a body and a signature.
 * @param {any} value
 * @returns {Signed[]}
 */
function signedIn(value) {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return [];
  if (value.body instanceof Uint8Array && value.signature instanceof Uint8Array) return [value];
  return Object.values(value).flatMap(signedIn);
}
