/**
 * Every limit of the wire, with its unit and the reason for it. What an operator may choose is in the roster instead.
 *
 * Knows nothing of who enforces them.
 * @module
 */

/** Devices an envelope names, its sender included: a recipient list of 32 KiB, an inclusion proof of 10 hashes. */
export const RECIPIENTS_MAX = 1024;

/**
 * Recipient ids in all sets of a bundle together: each may make a mailbox, and costs four hashes before a refusal.
 */
export const BUNDLE_RECIPIENT_IDS_MAX = 4096;

/** Envelopes under one signature: the signature's cost per message is then under 1 us. */
export const BUNDLE_MESSAGES_MAX = 256;

/** Per-recipient ciphertexts in a bundle: each is hashed into a tree before a refusal, and proven at delivery. */
export const BUNDLE_CIPHERTEXTS_MAX = 8192;

/** An encoded bundle: one HTTP body or WebSocket frame that a server must hold before it can judge it. */
export const BUNDLE_BYTES_MAX = 1 << 20;

/** A common ciphertext. Larger content belongs in blob storage, with its key in a message. */
export const MESSAGE_BYTES_MAX = 256 << 10;

/** A per-recipient ciphertext: an HPKE encapsulation, a content key and gossip, with room. */
export const CIPHERTEXT_BYTES_MAX = 4096;

/** A pushed frame: one epoch of one mailbox, whose content an epoch's own limit bounds, and its proofs. */
export const FRAME_BYTES_MAX = 24 << 20;

/**
 * Encoded bundles in one epoch, over all lanes; each lane takes one bundle at least. With LANES_MAX lanes that are
 * twice as many bytes, and still fit into a frame.
 */
export const EPOCH_BYTES_MAX = 8 << 20;

/** Messages in one epoch, over all lanes: bounds the time that one epoch takes, hence everybody's latency. */
export const EPOCH_MESSAGES_MAX = 16384;

/**
 * Deliveries in one epoch, over all lanes, unless a single bundle has more: one message may have 1024 recipients.
 */
export const EPOCH_DELIVERIES_MAX = 1 << 17;

/**
 * Content in one catch-up page, unless a single epoch of the mailbox is larger: bounds memory per resuming client.
 */
export const PAGE_BYTES_MAX = 1 << 20;

/** History records in one catch-up page. */
export const PAGE_RECORDS_MAX = 256;

/** Rosters in one delta: what a client missed. Each costs it a signature check before it can refuse. */
export const ROSTERS_MAX = 1024;

/** Inboxes of one provider: each takes a bundle into any epoch, and all of them must fit into one delta. */
export const LANES_MAX = 16;

/** Outboxes of one provider: a roster must fit into 64 KiB. */
export const OUTBOXES_MAX = 512;

/** Recipient ids that both ends of a push connection remember, oldest list forgotten first: 128 KiB. */
export const CONNECTION_RECIPIENT_IDS_MAX = 4096;

/** Life of an authentication challenge, single use. */
export const CHALLENGE_MS = 60_000;

/** Prekeys in one upload: each costs the server a signature check before it can refuse, 15 ms in all. */
export const PREKEYS_IN_UPLOAD_MAX = 128;

/** An encoded upload: 128 prekeys of 213 bytes. */
export const PREKEY_UPLOAD_BYTES_MAX = 32 << 10;

/** One-time prekeys that a server keeps for a device: 64 KiB of its disk, and four hours at one a minute. */
export const PREKEYS_MAX = 256;

/** How far ahead a prekey's end may lie: what a device left behind that never came back is dropped then. */
export const PREKEY_LIFE_MS = 90 * 24 * 3600 * 1000;
