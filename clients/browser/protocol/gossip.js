/**
 * What clients tell each other about their provider: views, the frames of a dispute, and how a gossip link begins.
 *
 * Knows nothing of what carries a frame: a link between two clients, a sealed message, or a file, which may lose,
 * repeat and reorder. So an answer says again what it answers, and whoever hears none asks again. Nothing here convicts
 * anybody: a peer's words are hints, and only what the provider signed counts.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
/** @import { FrameOf, FrameTypes } from "./frame_family.js" */
/** @import { ChainItem, KnownCuts } from "./pair_chain.js" */
/** @import { Signer } from "./signing.js" */
import { EMPTY, concat, equal, utf8 } from "./bytes.js";
import { keyId, logNameOf, parseCheckpoint, verifyCheckpoint } from "./checkpoint.js";
import { BYTES16, BYTES32, BYTES64, U32, U64, U8, VEC32, embedded, listOf, optional, structCodec } from "./encoding.js";
import { DecodeError, NoiseError, SignatureError } from "./errors.js";
import { FrameFamily } from "./frame_family.js";
import { deviceIdOf } from "./identifiers.js";
import { CHAIN_ITEM, CUT, Comparison } from "./pair_chain.js";
import { verifyStrict } from "./signing.js";

/** Cuts in a view: say, the newest, one that the peer has surely reached, and one between. */
export const VIEW_CUTS_MAX = 3;

/** An encoded view: it travels inside every per-recipient ciphertext. */
export const VIEW_BYTES_MAX = 300;

/** Chain items in a page of a section: 12 KiB. */
export const PAGE_ITEMS_MAX = 256;

/** A testimony, a log opening or a proof, encoded: as much as a whole proof of misbehaviour. */
export const ANSWER_BYTES_MAX = 1 << 20;

/** A frame: the largest answer, and what it answers. */
export const GOSSIP_FRAME_BYTES_MAX = ANSWER_BYTES_MAX + 64;

/**
 * Items of our own chain with a peer, from number `afterLength` (the first is 0) on, at most so many, all there are.
 * Throws NoiseError when they are not kept any more.
 * @typedef {(afterLength: bigint, count: number) => ChainItem[]} ItemsReader
 */

/** A checkpoint without what its reader knows anyway: the log's name and key. */
export const COMPACT_CHECKPOINT = structCodec("CompactCheckpoint", { size: U64, root: BYTES32, signature: BYTES64 });
/** @typedef {ValueOf<typeof COMPACT_CHECKPOINT>} CompactCheckpoint */

/**
 * The compact form of a signed note. Throws DecodeError.
 * @param {Bytes} note
 * @returns {CompactCheckpoint}
 */
export function compact(note) {
  const [checkpoint, , , signature] = parseCheckpoint(note);
  return { size: checkpoint.size, root: checkpoint.root, signature };
}

/**
 * The note, byte for byte, that the log of `origin` signed with `key`. Throws DecodeError or SignatureError.
 * @param {CompactCheckpoint} checkpoint
 * @param {Bytes} origin
 * @param {Bytes} key
 */
export async function expand(checkpoint, origin, key) {
  const name = logNameOf(origin);
  const text = `${name}\n${checkpoint.size}\n${base64(checkpoint.root)}\n`;
  const line = base64(concat(keyId(name, key), checkpoint.signature));
  const note = utf8(`${text}\n\u2014 ${name} ${line}\n`);
  await verifyCheckpoint(note, name, key);
  return note;
}

/** @param {Bytes} data at most a few hundred */
function base64(data) {
  return btoa(String.fromCharCode(...data));
}

/** What a client says of its provider to one peer, unasked: a checkpoint, and cuts of the pair's chain. */
export const VIEW = structCodec("View", {
  checkpoint: optional(COMPACT_CHECKPOINT),
  cuts: listOf(CUT, VIEW_CUTS_MAX),
});
/** @typedef {ValueOf<typeof VIEW>} View */

/**
 * Why an answer is empty. A number, so that no peer puts words on somebody's screen. NONE: it is not. LATER: not
 * verified that far. FORGOTTEN: not kept any more. UNWILLING: anything else; unknown numbers mean the same.
 * @enum {number}
 */
export const Reason = Object.freeze({ NONE: 0, LATER: 1, FORGOTTEN: 2, UNWILLING: 3 });

/** What a device signs to open a link: that it speaks with this peer, who gave it this nonce. */
export const LINK_PROOF = structCodec(
  "LinkProof",
  { origin: BYTES32, device_id: BYTES32, key: BYTES32, nonce: BYTES32, peer_id: BYTES32 },
  { recordType: 25 },
);
/** @typedef {ValueOf<typeof LINK_PROOF>} LinkProof */

/** Number and structure of each frame, by the name of its type. */
export const GOSSIP_TYPES = /** @satisfies {FrameTypes} */ ({
  challenge: [1, structCodec("LinkChallenge", { origin: BYTES32, device_id: BYTES32, nonce: BYTES32 })],
  "link-proof": [2, structCodec("LinkProofFrame", { body: embedded(LINK_PROOF), signature: BYTES64 })],
  view: [3, structCodec("ViewFrame", { view: VIEW })],
  "section-request": [4, structCodec("SectionRequest", { request: U32, epoch: U64, after_length: U64 })],
  section: [
    5,
    structCodec("SectionFrame", {
      request: U32,
      epoch: U64,
      after_length: U64,
      reason: U8,
      items: listOf(CHAIN_ITEM, PAGE_ITEMS_MAX),
    }),
  ],
  "statement-request": [6, structCodec("StatementRequest", { request: U32, seq: BYTES16 })],
  statement: [7, structCodec("StatementFrame", { request: U32, seq: BYTES16, reason: U8, testimony: VEC32 })],
  "log-request": [8, structCodec("LogRequest", { request: U32, epoch: U64 })],
  log: [9, structCodec("LogFrame", { request: U32, epoch: U64, reason: U8, opening: VEC32 })],
  proof: [10, structCodec("ProofFrame", { proof: VEC32 })],
});

/** @typedef {FrameOf<typeof GOSSIP_TYPES>} GossipFrame */

/**
 * Both sides' first frame on a link: who I claim to be at which provider, and what you shall sign. Fresh nonce.
 * @typedef {Extract<GossipFrame, { type: "challenge" }>} LinkChallenge
 */
/** @typedef {Extract<GossipFrame, { type: "link-proof" }>} LinkProofFrame */
/** @typedef {Extract<GossipFrame, { type: "view" }>} ViewFrame */
/**
 * For a page of the peer's chain as it stands at `epoch`, from item number `after_length` on.
 * @typedef {Extract<GossipFrame, { type: "section-request" }>} SectionRequest
 */
/**
 * A page: PAGE_ITEMS_MAX items, or all that are left.
 * @typedef {Extract<GossipFrame, { type: "section" }>} SectionFrame
 */
/**
 * For what the peer can show of the provider's word about one message: that it was delivered, or was not.
 * @typedef {Extract<GossipFrame, { type: "statement-request" }>} StatementRequest
 */
/** @typedef {Extract<GossipFrame, { type: "statement" }>} StatementFrame */
/**
 * For the record of one epoch, opened in a log whose checkpoint the peer has.
 * @typedef {Extract<GossipFrame, { type: "log-request" }>} LogRequest
 */
/** @typedef {Extract<GossipFrame, { type: "log" }>} LogFrame */
/**
 * A proof of misbehaviour, whole.
 * @typedef {Extract<GossipFrame, { type: "proof" }>} ProofFrame
 */

/** What only a link carries, before anything else and never again. @type {ReadonlySet<string>} */
export const LINK_FRAMES = new Set(["challenge", "link-proof"]);

/** What every carrier carries, in any order. @type {ReadonlySet<string>} */
export const CONTENT_FRAMES = new Set(Object.keys(GOSSIP_TYPES).filter((type) => !LINK_FRAMES.has(type)));

const FAMILY = new FrameFamily(GOSSIP_TYPES, { bytesMax: GOSSIP_FRAME_BYTES_MAX, noun: "gossip frame" });
/** @type {ReadonlySet<string>} */
const EVERY_TYPE = new Set(Object.keys(GOSSIP_TYPES));

/**
 * `u8 type || structure`. Throws DecodeError for what no reader would accept.
 * @param {GossipFrame} frame
 * @returns {Bytes}
 */
export function encodeGossip(frame) {
  const encoded = FAMILY.encode(frame);
  parseGossip(encoded);
  return encoded;
}

/**
 * The exact inverse of `encodeGossip`. Throws DecodeError. Of a type that may not come only the type is read.
 * @param {Uint8Array} data
 * @param {ReadonlySet<string>} [mayCome]
 * @returns {GossipFrame}
 */
export function parseGossip(data, mayCome = EVERY_TYPE) {
  return FAMILY.parse(data, mayCome);
}

/**
 * What a device signs for a peer's challenge. Throws DecodeError when it is another provider's, or our own.
 * @param {Signer} signer
 * @param {Bytes} origin
 * @param {LinkChallenge} challenge
 * @returns {Promise<LinkProofFrame>}
 */
export async function answerChallenge(signer, origin, challenge) {
  const deviceId = deviceIdOf(signer.publicKey);
  if (!equal(challenge.origin, origin)) throw new DecodeError("the peer follows another provider", "wrong-origin");
  if (equal(challenge.device_id, deviceId)) throw new DecodeError("a link to ourselves", "wrong-peer");
  const body = LINK_PROOF.encode({
    origin,
    device_id: deviceId,
    key: signer.publicKey,
    nonce: challenge.nonce,
    peer_id: challenge.device_id,
  });
  return { type: "link-proof", ...(await signer.sign("gossip", origin, body)) };
}

/**
 * That the peer is who its challenge claims, and signs for ours. Throws DecodeError or SignatureError.
 * @param {LinkProofFrame} frame
 * @param {LinkChallenge} ours
 * @param {LinkChallenge} theirs
 */
export async function verifyLink(frame, ours, theirs) {
  const proof = LINK_PROOF.decode(frame.body);
  if (!equal(proof.origin, ours.origin)) throw new DecodeError("the peer follows another provider", "wrong-origin");
  if (!equal(proof.nonce, ours.nonce) || !equal(proof.peer_id, ours.device_id)) {
    throw new DecodeError("a proof for another link", "wrong-nonce");
  }
  if (!equal(proof.device_id, theirs.device_id) || equal(proof.device_id, ours.device_id)) {
    throw new DecodeError("the proof of another device", "wrong-peer");
  }
  if (!equal(deviceIdOf(proof.key), proof.device_id)) {
    throw new SignatureError("the key is not that of the device", "wrong-key");
  }
  await verifyStrict(proof.key, frame.signature, "gossip", ours.origin, frame.body);
}

/**
 * The page of our chain with this peer that was asked for; what is not there is answered, too.
 * @param {SectionRequest} request
 * @param {KnownCuts} own
 * @param {ItemsReader} items
 * @returns {SectionFrame}
 */
export function answerSection(request, own, items) {
  const cut = own.at(request.epoch);
  /** @type {ChainItem[]} */
  let page = [];
  /** @type {number} */
  let reason = Reason.NONE;
  if (typeof cut === "string") {
    reason = cut === Comparison.LATER ? Reason.LATER : Reason.FORGOTTEN;
  } else {
    const left = cut.length - request.after_length;
    const count = left < 0n ? 0 : left < PAGE_ITEMS_MAX ? Number(left) : PAGE_ITEMS_MAX;
    try {
      page = count ? items(request.after_length, count) : [];
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
    }
    if (page.length !== count) [reason, page] = [Reason.FORGOTTEN, []];
  }
  return { ...request, type: "section", reason, items: page };
}

/**
 * Our testimony about a message. `testify(seq)` returns it encoded, or throws NoiseError.
 * @param {StatementRequest} request
 * @param {(seq: Bytes) => Bytes | Promise<Bytes>} testify
 * @returns {Promise<StatementFrame>}
 */
export async function answerStatement(request, testify) {
  const [reason, testimony] = await answer(testify, request.seq);
  return { ...request, type: "statement", reason, testimony };
}

/**
 * Our opening of an epoch's record. `opening(epoch)` returns it encoded, or throws NoiseError.
 * @param {LogRequest} request
 * @param {(epoch: bigint) => Bytes | Promise<Bytes>} opening
 * @returns {Promise<LogFrame>}
 */
export async function answerLog(request, opening) {
  const [reason, encoded] = await answer(opening, request.epoch);
  return { ...request, type: "log", reason, opening: encoded };
}

/**
 * @template T
 * @param {(subject: T) => Bytes | Promise<Bytes>} show
 * @param {T} subject
 * @returns {Promise<[reason: number, shown: Bytes]>}
 */
async function answer(show, subject) {
  let shown;
  try {
    shown = await show(subject);
  } catch (error) {
    if (!(error instanceof NoiseError)) throw error;
    return [REASONS.get(error.code) ?? Reason.UNWILLING, EMPTY];
  }
  return 0 < shown.length && shown.length <= ANSWER_BYTES_MAX ? [Reason.NONE, shown] : [Reason.UNWILLING, EMPTY];
}

const REASONS = new Map([
  ["evidence-future", Reason.LATER],
  ["evidence-dropped", Reason.FORGOTTEN],
]);
