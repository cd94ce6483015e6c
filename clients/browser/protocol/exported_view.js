/**
 * A signed view as a file: what one client knows about its provider, for comparison where no connection leads.
 *
 * Knows nothing of disks. A file answers the questions of a dispute as its author would, as far as it goes: the same
 * machine runs over both. The signature says who speaks, and convicts nobody: only what the provider signed counts.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
/** @import { SectionFrame, SectionRequest, StatementFrame, StatementRequest } from "./gossip.js" */
/** @import { Signer } from "./signing.js" */
import { EMPTY, equal } from "./bytes.js";
import { BYTES16, BYTES32, BYTES64, U64, VEC32, listOf, optional, structCodec } from "./encoding.js";
import { DecodeError, SignatureError } from "./errors.js";
import { COMPACT_CHECKPOINT, PAGE_ITEMS_MAX, Reason, VIEW_CUTS_MAX } from "./gossip.js";
import { deviceIdOf } from "./identifiers.js";
import { CHAIN_ITEM, CUT } from "./pair_chain.js";
import { verifyStrict } from "./signing.js";

/** A file: the most items, and some testimonies. */
export const EXPORTED_BYTES_MAX = 2 << 20;

/** Checkpoints in a file: the distinguished ones that a client keeps, and its newest. */
export const EXPORTED_CHECKPOINTS_MAX = 64;

/** Chain items in a file: 384 KiB. Of a longer chain the newest are in it. */
export const EXPORTED_ITEMS_MAX = 8192;

/** Testimonies in a file: one settles a dispute; a few spare another round of files. */
export const EXPORTED_TESTIMONIES_MAX = 16;

/** What the author can show of the provider's word about one message. */
export const SHARED_TESTIMONY = structCodec("SharedTestimony", { seq: BYTES16, testimony: VEC32 });
/** @typedef {ValueOf<typeof SHARED_TESTIMONY>} SharedTestimony */

/** For one peer: cuts of the pair's chain, and its items from number `after_length` on. */
export const EXPORTED_SECTION = structCodec("ExportedSection", {
  peer_id: BYTES32,
  cuts: listOf(CUT, VIEW_CUTS_MAX),
  after_length: U64,
  items: listOf(CHAIN_ITEM, EXPORTED_ITEMS_MAX),
  testimonies: listOf(SHARED_TESTIMONY, EXPORTED_TESTIMONIES_MAX),
});
/** @typedef {ValueOf<typeof EXPORTED_SECTION>} ExportedSection */

/** Without a section it is for everybody: checkpoints alone. */
export const EXPORTED_VIEW = structCodec(
  "ExportedView",
  {
    origin: BYTES32,
    device_id: BYTES32,
    key: BYTES32,
    created_ms: U64,
    checkpoints: listOf(COMPACT_CHECKPOINT, EXPORTED_CHECKPOINTS_MAX),
    section: optional(EXPORTED_SECTION),
  },
  { recordType: 26 },
);
/** @typedef {ValueOf<typeof EXPORTED_VIEW>} ExportedView */

export const EXPORTED_FILE = structCodec("ExportedFile", { body: VEC32, signature: BYTES64 });
/** @typedef {ValueOf<typeof EXPORTED_FILE>} ExportedFile */

/**
 * The file. Throws DecodeError for a view that no reader would accept, SignatureError for another device's.
 * @param {Signer} signer
 * @param {ExportedView} view
 */
export async function signView(signer, view) {
  const signed = await signer.sign("view", view.origin, EXPORTED_VIEW.encode(view));
  const data = EXPORTED_FILE.encode(signed);
  await openView(data, view.origin);
  return data;
}

/**
 * What a file says about the provider `origin`, signed by the device that it names.
 *
 * Throws DecodeError or SignatureError. Who the device is to us, and whether the section is for us, the caller checks.
 * @param {Uint8Array} data
 * @param {Bytes} origin
 * @returns {Promise<ExportedView>}
 */
export async function openView(data, origin) {
  if (data.length > EXPORTED_BYTES_MAX) {
    throw new DecodeError(`an exported view has at most ${EXPORTED_BYTES_MAX} bytes`, "file-too-large");
  }
  const { body, signature } = EXPORTED_FILE.decode(data);
  const view = EXPORTED_VIEW.decode(body);
  if (!equal(view.origin, origin)) throw new DecodeError("a view of another provider", "wrong-origin");
  if (!equal(deviceIdOf(view.key), view.device_id)) {
    throw new SignatureError("the key is not that of the device", "wrong-key");
  }
  await verifyStrict(view.key, signature, "view", origin, body);
  return view;
}

/**
 * The author's answer, or that the file does not hold it: FORGOTTEN.
 * @param {ExportedSection} section
 * @param {SectionRequest | StatementRequest} request
 * @returns {SectionFrame | StatementFrame}
 */
export function answerFromView(section, request) {
  if (request.type === "statement-request") {
    const found = section.testimonies.find((shared) => equal(shared.seq, request.seq))?.testimony ?? EMPTY;
    return { ...request, type: "statement", reason: found.length ? Reason.NONE : Reason.FORGOTTEN, testimony: found };
  }
  const items = itemsAsked(section, request);
  return { ...request, type: "section", reason: items ? Reason.NONE : Reason.FORGOTTEN, items: items ?? [] };
}

/**
 * Null: the file does not hold them.
 * @param {ExportedSection} section
 * @param {SectionRequest} request
 */
function itemsAsked(section, request) {
  const cut = section.cuts.find((each) => each.epoch === request.epoch);
  const firstIndex = request.after_length - section.after_length;
  if (cut === undefined || firstIndex < 0n) return null;
  const left = cut.length - request.after_length;
  if (left <= 0n) return [];
  if (firstIndex > section.items.length) return null;
  const count = left < PAGE_ITEMS_MAX ? Number(left) : PAGE_ITEMS_MAX;
  const items = section.items.slice(Number(firstIndex), Number(firstIndex) + count);
  return items.length === count ? items : null;
}
