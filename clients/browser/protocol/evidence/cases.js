/**
 * What a proof that names no actor asks of custody, and what it shows itself.
 *
 * Knows nothing of what is answered.
 * @module
 */

/** @import { Codec } from "../encoding.js" */
/** @import { CommittedLeaf, RecipientOpening, SequencedLeaf } from "./openings.js" */
/** @import { Finding } from "./proof.js" */
/** @import { Question, SequencedView, StageCustody } from "./stage_views.js" */
import { toHex, zeros } from "../bytes.js";
import { listOf } from "../encoding.js";
import { MESSAGE_LEAF } from "../statements.js";
import { RECIPIENT_OPENING } from "./openings.js";
import { QUESTION } from "./stage_views.js";

/** The actor of what is shown by others than a stage. */
export const NOBODY = zeros(5);

const RECIPIENTS = listOf(RECIPIENT_OPENING);

/**
 * The items without those that came before.
 * @template T
 * @param {Codec<T>} codec
 * @param {readonly T[]} items
 */
function distinct(codec, items) {
  return [...new Map(items.map((item) => [toHex(codec.encode(item)), item])).values()];
}

/**
 * Of a finding that is verified: the mailbox that lacks a message first, then those to which one was delivered.
 * @param {Finding} finding
 * @returns {Question[]}
 */
export function questionsIn(finding) {
  const asked = [];
  if (finding.kind === "Omission") {
    asked.push({ seq: seqOf(finding.body.message), mailbox: finding.body.recipient.device_id });
  }
  for (const message of messagesIn(finding)) {
    if (message.delivered === null) continue;
    asked.push({ seq: seqOf(message), mailbox: message.delivered.record.state.mailbox });
  }
  return distinct(QUESTION, asked);
}

/**
 * A view that nobody answered with.
 * @param {Partial<StageCustody>} shown
 * @returns {StageCustody}
 */
function shownByNobody(shown) {
  const nothing = { sequenced: null, routed: null, merged: null, head: null, delivered: null, absent: null };
  return { actor: NOBODY, ...nothing, ...shown };
}

/**
 * What the finding shows of the stages by itself, and together with what was `answered`.
 *
 * Who a message is for, either may show of what the other shows to be sequenced.
 * @param {Finding} finding
 * @param {readonly StageCustody[]} answered
 * @returns {StageCustody[]}
 */
export function custodyIn(finding, answered) {
  const messages = messagesIn(finding);
  const shown = messages
    .filter(({ delivered }) => delivered !== null)
    .map(({ delivered }) => shownByNobody({ delivered }));
  if (finding.kind === "Omission") shown.push(shownByNobody({ absent: finding.body.absence }));
  const recipients = recipientsIn(finding);
  const ours = sequencedIn(finding);
  const views = answered.flatMap(({ sequenced }) => (sequenced === null ? [] : [sequenced]));
  views.push(...ours.map((message) => viewOf(message, [])));
  const theirs = distinct(
    RECIPIENTS,
    views.map((view) => view.recipients),
  );
  const sequenced = [
    ...views
      .filter((view) => view.message !== null)
      .flatMap((view) => recipients.map((own) => withRecipients(view, own))),
    ...ours.flatMap((message) => theirs.map((own) => viewOf(message, own))),
  ];
  return [...shown, ...sequenced.map((view) => shownByNobody({ sequenced: view }))];
}

/**
 * @param {SequencedLeaf} message
 * @param {RecipientOpening[]} recipients
 * @returns {SequencedView}
 */
function viewOf(message, recipients) {
  return { message, recipients, ended: null };
}

/**
 * @param {SequencedView} view
 * @param {RecipientOpening[]} recipients
 * @returns {SequencedView}
 */
function withRecipients(view, recipients) {
  return { ...view, recipients };
}

/**
 * The messages of a finding as they were sequenced.
 * @param {Finding} finding
 * @returns {SequencedLeaf[]}
 */
export function sequencedIn(finding) {
  return messagesIn(finding).flatMap(({ sequenced }) => (sequenced === null ? [] : [sequenced]));
}

/**
 * @param {Finding} finding
 * @returns {CommittedLeaf[]}
 */
function messagesIn(finding) {
  switch (finding.kind) {
    case "Conflict":
    case "CounterViolation":
      return [finding.body.one, finding.body.other];
    case "Omission":
    case "AlteredMessage":
      return [finding.body.message];
    case "Misdelivery":
      return [{ sequenced: null, delivered: finding.body.message }];
    default:
      return [];
  }
}

/**
 * @param {Finding} finding
 * @returns {RecipientOpening[][]}
 */
function recipientsIn(finding) {
  if (finding.kind === "Omission") return [[finding.body.recipient]];
  return finding.kind === "Misdelivery" ? [finding.body.recipients] : [];
}

/** @param {CommittedLeaf} message of a verified finding: one of both is there */
function seqOf({ sequenced, delivered }) {
  const { leaf } = /** @type {{ leaf: SequencedLeaf["leaf"] }} */ (delivered ?? sequenced);
  return MESSAGE_LEAF.decode(leaf).seq;
}
