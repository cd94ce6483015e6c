/**
 * The way of a message through the stages, as far as custody shows it, and the first lie on it.
 *
 * Knows nothing of who gathered the answers. Inbox, router, receiver, outbox, in this order: two statements for one slot
 * come first at each stage, then what it passed on against what it was given. What does not verify is no answer. Views are
 * looked at in the order of their encodings, so that whoever asks, and in whatever order, finds the same.
 *
 * Statements count under the newest of the rosters that bind the epoch, and under no other: the keys that it ended may be
 * in anybody's hands, and whoever signs by one of them is not the actor.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { SignedHead } from "../delta.js" */
/** @import { Codec } from "../encoding.js" */
/** @import { Actor } from "../identifiers.js" */
/** @import { Signed } from "../signing.js" */
/** @import { Roster } from "../statements.js" */
/** @import { PlainFinding } from "./kinds.js" */
/** @import { Finding } from "./proof.js" */
/** @import { Rosters } from "./rosters.js" */
/** @import { MergeView, OpenedHistory, OpenedManifest, OpenedMerge, OpenedRoute } from "./stage_views.js" */
/** @import { Question, RouteView, SequencedView } from "./stage_views.js" */
/** @import { OpenedStageHead } from "./stages.js" */
/** @import { Step } from "./verdict.js" */
import { compare, equal, same, toHex } from "../bytes.js";
import { SIGNED_HEAD } from "../delta.js";
import { DecodeError, NoiseError } from "../errors.js";
import { parseActor, parseSeq } from "../identifiers.js";
import { receiverOf, routerOf } from "../stages.js";
import { EPOCH_HEAD, MANIFEST } from "../statements.js";
import { NOBODY } from "./cases.js";
import {
  MERGE_VIEW,
  ROUTE_VIEW,
  SEQUENCED_VIEW,
  STAGE_CUSTODY,
  StageCustody,
  openHistoryView,
  openMergeView,
  openRouteView,
  openSequencedView,
} from "./stage_views.js";
import { isKeptFrom, isMergedFrom, isRoutedFrom, openStageHead } from "./stages.js";
import { NotProven } from "./verdict.js";

export const N_STAGES = 4;
export const INBOX = 0;
export const ROUTER = 1;
export const RECEIVER = 2;
export const OUTBOX = 3;

/** By stage: what it did, and what it did not do. */
const DID = [
  ["sequenced it for this mailbox", "sequenced nothing for this mailbox there"],
  ["sorted it to the mailbox's outbox", "sorted nothing to the mailbox's outbox there"],
  ["merged it", "merged nothing there"],
  ["delivered it", "delivered nothing there"],
];

const LIES = new Map([
  ["ManifestEquivocation", "signed two manifests for one epoch"],
  ["StageEquivocation", "signed two statements for one epoch"],
  ["AlteredMessage", "sequenced what its sender did not make"],
  ["CounterViolation", "sequenced it out of its sender's order"],
]);

/**
 * That one statement, or one signer of a history, is heard to say of a question. An honest one says one thing; of two,
 * one is not what the stage was given.
 */
const LEAVES_MAX = 2;

/** Every statement begins with record type and origin, actor, incarnation and epoch. */
const SLOT_BYTES = 51;

/**
 * A view, and what it says.
 * @template K, V
 * @typedef {{ view: K, opened: V }} Opened
 */

/** What verifies of all that was shown about a question, opened. Histories: by (delivered, absent) in a custody. */
export class Shown {
  /** @type {Opened<SequencedView, OpenedManifest>[]} */
  manifests = [];
  /** @type {Opened<RouteView, OpenedRoute>[]} */
  routes = [];
  /** @type {Opened<MergeView, OpenedMerge>[]} */
  merges = [];
  /** @type {Opened<SignedHead, OpenedStageHead>[]} */
  heads = [];
  /** @type {Opened<StageCustody, OpenedHistory>[]} */
  histories = [];

  /** @param {Question} question */
  constructor(question) {
    this.question = question;
  }

  /** All of it again, each once. */
  custody() {
    return [
      ...this.manifests.map(({ view }) => new StageCustody(NOBODY, { sequenced: view })),
      ...this.routes.map(({ view }) => new StageCustody(NOBODY, { routed: view })),
      ...this.merges.map(({ view }) => new StageCustody(NOBODY, { merged: view })),
      ...this.heads.map(({ view }) => new StageCustody(NOBODY, { head: view })),
      ...this.histories.map(({ view }) => view),
    ];
  }
}

/**
 * What convicts a stage on the way of a question, if it is proven.
 * @typedef {{ stage: number, shown: Shown, finding: PlainFinding }} Lie
 */

/**
 * What verifies of the custodies, in a fixed order. Nothing when no roster binds the epoch.
 * @param {Rosters} rosters
 * @param {Question} question
 * @param {readonly StageCustody[]} custodies
 */
export async function openShown(rosters, question, custodies) {
  const shown = new Shown(question);
  /** @type {Bytes} */
  let newest;
  try {
    newest = rosters.hashInForce(parseSeq(question.seq)[0]);
  } catch (error) {
    if (error instanceof NotProven) return shown;
    throw error;
  }
  const histories = custodies.map(({ delivered, absent }) => new StageCustody(NOBODY, { delivered, absent }));
  const heads = [...custodies.map((one) => one.head), ...histories.flatMap(headsOf)];
  shown.manifests = await openAll(
    custodies.map((one) => one.sequenced),
    SEQUENCED_VIEW,
    (view) => openSequencedView(rosters, view, question),
    (one) => (equal(one.roster_hash, newest) ? toHex(one.manifest_hash) : null),
  );
  shown.routes = await openAll(
    custodies.map((one) => one.routed),
    ROUTE_VIEW,
    (view) => openRouteView(rosters, view, question),
    (one) => (equal(one.sheet.roster_hash, newest) ? toHex(one.sheet_hash) : null),
  );
  shown.merges = await openAll(
    custodies.map((one) => one.merged),
    MERGE_VIEW,
    (view) => openMergeView(rosters, view, question),
    (one) => (equal(one.sheet.roster_hash, newest) ? toHex(one.sheet_hash) : null),
  );
  shown.heads = await openAll(
    heads,
    SIGNED_HEAD,
    (view) => openStageHead(rosters, view, question),
    (one) => (equal(one.head.roster_hash, newest) ? toHex(EPOCH_HEAD.encode(one.head)) : null),
  );
  shown.histories = await openAll(
    histories,
    STAGE_CUSTODY,
    (view) => openHistoryView(rosters, view.delivered, view.absent, question),
    (one) => `${one.signer[0]} ${toHex(one.signer[1])}`,
  );
  return shown;
}

/**
 * The first of those that say the same: nobody makes a proof long by saying one thing in many ways.
 * @template K, V
 * @param {readonly (K | null)[]} views
 * @param {Codec<K>} codec
 * @param {(view: K) => Promise<V>} openOne
 * @param {(opened: V) => string | null} wordOf whose word it is; null: nobody's that counts
 */
async function openAll(views, codec, openOne, wordOf) {
  /** @type {Opened<K, V>[]} */
  const found = [];
  /** @type {Map<string, number>} */
  const said = new Map();
  for (const view of inOrder(views, codec)) {
    const opened = await orNull(() => openOne(view));
    const word = opened && wordOf(opened);
    const count = word === null ? LEAVES_MAX : (said.get(word) ?? 0);
    if (opened === null || word === null || count >= LEAVES_MAX) continue;
    if (found.some((one) => same(one.opened, opened))) continue;
    found.push({ view, opened });
    said.set(word, count + 1);
  }
  return found;
}

/**
 * All that are there, each once, in the order of their encodings.
 * @template K
 * @param {readonly (K | null)[]} views
 * @param {Codec<K>} codec
 */
function inOrder(views, codec) {
  const encoded = views.filter((view) => view !== null).map((view) => ({ view, data: codec.encode(view) }));
  encoded.sort((a, b) => compare(a.data, b.data));
  return encoded.filter(({ data }, i) => !i || !equal(encoded[i - 1].data, data)).map(({ view }) => view);
}

/**
 * What the call gives, or null when it throws a NoiseError.
 * @template T
 * @param {() => Promise<T>} call
 */
async function orNull(call) {
  try {
    return await call();
  } catch (error) {
    if (error instanceof NoiseError) return null;
    throw error;
  }
}

/**
 * Under which a history was opened.
 * @param {StageCustody} custody
 * @returns {SignedHead[]}
 */
function headsOf({ delivered, absent }) {
  const states = [delivered && delivered.record.state, absent && absent.state, absent?.record && absent.record.state];
  return states.filter((state) => !!state).map((state) => state.head.head);
}

/**
 * What may convict a stage: the first stage of all ways first. `explained`: the finding that is to be explained.
 * @param {readonly Shown[]} ways
 * @param {Finding} explained
 * @returns {Generator<Lie>}
 */
export function* findLies(ways, explained) {
  if (!ways.length) return;
  for (const shown of ways) for (const finding of inboxFindings(shown)) yield { stage: INBOX, shown, finding };
  for (const finding of sequencedFindings(ways, explained)) yield { stage: INBOX, shown: ways[0], finding };
  for (const shown of ways) for (const finding of routerFindings(shown)) yield { stage: ROUTER, shown, finding };
  for (const shown of ways) for (const finding of receiverFindings(shown)) yield { stage: RECEIVER, shown, finding };
  for (const shown of ways) for (const finding of outboxFindings(shown)) yield { stage: OUTBOX, shown, finding };
}

/**
 * @param {Shown} shown
 * @returns {Generator<PlainFinding>}
 */
function* inboxFindings(shown) {
  for (const [one, other] of twice(shown.manifests.map(({ view }) => manifestOf(view)))) {
    yield { kind: "ManifestEquivocation", body: { one, other } };
  }
}

/**
 * The case again, about messages as they were sequenced: who sequenced them like this is the first on the way.
 * @param {readonly Shown[]} ways
 * @param {Finding} explained
 * @returns {Generator<PlainFinding>}
 */
function* sequencedFindings(ways, explained) {
  const views = ways.flatMap((shown) => shown.manifests.map(({ view }) => view.message));
  const messages = views.filter((view) => view !== null).map((view) => ({ sequenced: view, delivered: null }));
  if (explained.kind === "AlteredMessage") {
    for (const message of messages) yield { kind: "AlteredMessage", body: { ...explained.body, message } };
  }
  if (explained.kind === "CounterViolation") {
    const [ones, others] = [explained.body.one, explained.body.other].map((side) =>
      side.sequenced === null ? messages : [side],
    );
    for (const one of ones) for (const other of others) yield { kind: "CounterViolation", body: { one, other } };
  }
}

/**
 * @param {Shown} shown
 * @returns {Generator<PlainFinding>}
 */
function* routerFindings(shown) {
  yield* equivocations(shown.routes.map(({ view }) => view.sheet));
  for (const { view: sequenced, opened: given } of shown.manifests) {
    for (const { view: routed, opened: made } of shown.routes) {
      if (isRoutedFrom(given, made) && !same(given.leaf, made.leaf)) {
        yield difference(shown.question, new StageCustody(made.sheet.actor, { sequenced, routed }), given.leaf);
      }
    }
  }
}

/**
 * @param {Shown} shown
 * @returns {Generator<PlainFinding>}
 */
function* receiverFindings(shown) {
  yield* equivocations(shown.merges.map(({ view }) => view.sheet));
  for (const { view: routed, opened: given } of shown.routes) {
    for (const { view: merged, opened: made } of shown.merges) {
      if (isMergedFrom(given, made) && !same(given.leaf, made.leaf)) {
        yield difference(shown.question, new StageCustody(made.sheet.actor, { routed, merged }), given.leaf);
      }
    }
  }
  for (const { view: merged, opened: made } of shown.merges) {
    if (!lanesOf(made.roster).includes(parseSeq(shown.question.seq)[1])) {
      yield difference(shown.question, new StageCustody(made.sheet.actor, { merged }), null);
    }
  }
}

/**
 * @param {Shown} shown
 * @returns {Generator<PlainFinding>}
 */
function* outboxFindings(shown) {
  yield* equivocations(shown.heads.map(({ view }) => view));
  for (const { view: merged, opened: given } of shown.merges) {
    for (const { view: head, opened } of shown.heads) {
      for (const { view, opened: made } of shown.histories) {
        if (isKeptFrom(given, opened, made) && !same(given.leaf, made.leaf)) {
          const { delivered, absent } = view;
          const custody = new StageCustody(opened.head.actor, { merged, head, delivered, absent });
          yield difference(shown.question, custody, given.leaf);
        }
      }
    }
  }
}

/**
 * @param {Question} question
 * @param {StageCustody} custody
 * @param {Bytes | null} given
 * @returns {PlainFinding}
 */
function difference(question, custody, given) {
  return { kind: given === null ? "StageInsertion" : "StageOmission", body: { question, custody } };
}

/**
 * @param {Iterable<Signed>} statements
 * @returns {Generator<PlainFinding>}
 */
function* equivocations(statements) {
  for (const [one, other] of twice(statements)) yield { kind: "StageEquivocation", body: { one, other } };
}

/**
 * @param {Iterable<Signed>} statements
 * @returns {Generator<[Signed, Signed]>}
 */
function* twice(statements) {
  /** @type {Map<string, Signed>} */
  const first = new Map();
  for (const signed of statements) {
    const slot = toHex(signed.body.subarray(0, SLOT_BYTES));
    const one = first.get(slot) ?? signed;
    first.set(slot, one);
    if (!equal(one.body, signed.body)) yield [one, signed];
  }
}

/** @param {SequencedView} view */
function manifestOf(view) {
  const signed = view.message ?? view.ended;
  if (signed === null) throw new DecodeError("a view of no manifest");
  return signed.manifest;
}

/** @param {Roster} roster */
function lanesOf(roster) {
  return roster.lanes.map((one) => one.lane);
}

/**
 * The first that showed no output, or none that was made from what the stage before it showed; null: all of them did.
 *
 * Its own answer counts, and its successor's too. Throws NotProven where no roster says who was to answer.
 * @param {Rosters} rosters
 * @param {Shown} shown
 * @returns {[stage: number, actor: string] | null}
 */
export function findSilent(rosters, shown) {
  const [epoch, lane] = parseSeq(shown.question.seq);
  const roster = rosters.inForce(epoch);
  const outbox = rosters.place(rosters.hashInForce(epoch), shown.question.mailbox);
  const { manifests, routes, merges, heads, histories } = shown;
  const inbox = roster.lanes.find((one) => one.lane === lane)?.inbox;
  const isRouted = manifests.some((given) => routes.some((made) => isRoutedFrom(given.opened, made.opened)));
  const isMerged = routes.some((given) => merges.some((made) => isMergedFrom(given.opened, made.opened)));
  const isKept = merges.some((given) =>
    heads.some((head) => histories.some((made) => isKeptFrom(given.opened, head.opened, made.opened))),
  );
  /** @type {[stage: number, actor: Actor, hasShown: boolean][]} */
  const firstStages = inbox
    ? [
        [INBOX, parseActor(inbox), manifests.length > 0],
        [ROUTER, routerOf(inbox), isRouted],
        [RECEIVER, receiverOf(outbox), isMerged],
      ]
    : [[RECEIVER, receiverOf(outbox), merges.length > 0]];
  for (const [stage, actor, hasShown] of [...firstStages, /** @type {const} */ ([OUTBOX, outbox, isKept])]) {
    if (!hasShown) return [stage, actor.toString()];
  }
  return null;
}

/**
 * What each stage did, as far as it is shown, with the lie marked.
 * @param {Shown} shown
 * @param {Lie | null} lie
 */
export function makeWay(shown, lie) {
  const { mailbox, seq } = shown.question;
  /** @type {Step[]} */
  const steps = [];
  /** @type {Bytes | null} */
  let before = null;
  for (const [stage, words] of wordsOf(shown, lie).entries()) {
    if (!words.length) continue;
    const { actor, leaf } = words[0];
    let does = DID[stage][leaf === null ? 1 : 0];
    if (before !== null && leaf !== null && !equal(before, leaf)) does += ", with other bytes";
    const is_lie = lie !== null && lie.stage === stage;
    if (is_lie) does = LIES.get(lie.finding.kind) ?? does;
    steps.push({ actor: parseActor(actor).toString(), mailbox, seq, does, is_lie });
    before = leaf;
  }
  return steps;
}

/**
 * What is said by stage, by all that is shown; what convicts first. `actor`: encoded.
 * @param {Shown} shown
 * @param {Lie | null} lie
 * @returns {{ actor: Bytes, leaf: Bytes | null }[][]}
 */
function wordsOf(shown, lie) {
  let wanted = new StageCustody(NOBODY);
  const finding = lie?.finding;
  if (finding?.kind === "StageOmission" || finding?.kind === "StageInsertion") wanted = finding.body.custody;
  const { delivered, absent } = wanted;
  const ended = new StageCustody(NOBODY, { delivered, absent });
  return [
    firstThe(wanted.sequenced, shown.manifests).map(({ view, opened }) => ({
      actor: MANIFEST.decode(manifestOf(view).body).actor,
      leaf: opened.leaf,
    })),
    firstThe(wanted.routed, shown.routes).map(({ opened }) => ({ actor: opened.sheet.actor, leaf: opened.leaf })),
    firstThe(wanted.merged, shown.merges).map(({ opened }) => ({ actor: opened.sheet.actor, leaf: opened.leaf })),
    firstThe(ended, shown.histories).map(({ opened }) => ({ actor: opened.signer[0].encode(), leaf: opened.leaf })),
  ];
}

/**
 * The wanted view before the others, which keep their order.
 * @template K, V
 * @param {K | null} wanted
 * @param {readonly Opened<K, V>[]} all
 */
function firstThe(wanted, all) {
  const isWanted = all.map(({ view }) => same(view, wanted));
  return [...all.filter((_, i) => isWanted[i]), ...all.filter((_, i) => !isWanted[i])];
}
