/**
 * What the page takes from a client of `io/`, and from the demo's own HTTP face: types, and nothing else.
 *
 * Knows nothing of how a client does it.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Delta } from "../protocol/delta.js" */
/** @import { NoiseError } from "../protocol/errors.js" */
/** @import { Roster } from "../protocol/statements.js" */
/** @import { Trusted } from "../protocol/trust.js" */
/** @import { Verdict } from "../protocol/evidence/verdict.js" */

/** @typedef {"connecting" | "syncing" | "live" | "backoff" | "closed"} ClientState */
/** @typedef {"ok" | "stale" | "suspected" | "exposed"} Standing */
/** @typedef {{ code: string, detail: string, accused: string }} Reason */
/** @typedef {{ verdict: Standing, reasons: readonly Reason[] }} Judgement */

/**
 * A delta that verified, with what was trusted before it and after it.
 * @typedef {object} DeltaSeen
 * @property {bigint} epoch
 * @property {bigint} timeMs by the provider's clock
 * @property {number} heardAtMs by ours
 * @property {number} checkMs that it took to verify
 * @property {number} nBytes
 * @property {Delta} delta
 * @property {Trusted} before
 * @property {Trusted} after
 * @property {Message[]} messages
 */

/**
 * `seal`: 0 in the clear, 1 sealed, 2 sealed with a one-time key.
 * @typedef {object} Message
 * @property {Bytes} seq
 * @property {bigint} epoch
 * @property {Bytes} sender
 * @property {bigint} sender_ctr
 * @property {bigint} created_ms
 * @property {Bytes[]} recipients
 * @property {Bytes} data
 * @property {number} seal
 * @property {number} heardAtMs
 */

/**
 * @typedef {object} Sending
 * @property {number} id
 * @property {Bytes[]} recipients
 * @property {Bytes} data
 * @property {"queued" | "sent" | "receipt" | "refused"} state
 * @property {Bytes | null} seq
 * @property {NoiseError | null} error
 */

/**
 * @typedef {object} Pair
 * @property {Bytes} peer
 * @property {number} length
 * @property {Bytes} head
 * @property {bigint | null} matchedEpoch
 * @property {number | null} matchedLength
 * @property {boolean} isLinked
 */

/** @typedef {{ time_ms: bigint, proof: Bytes, verdict: Verdict }} KeptProof */

/**
 * @typedef {{ kind: "state", state: ClientState } | { kind: "judgement", judgement: Judgement } | { kind: "pairs" }
 *   | { kind: "problem", error: NoiseError } | { kind: "failure", error: NoiseError }
 *   | { kind: "delta", seen: DeltaSeen } | { kind: "refused", delta: Delta, error: NoiseError }
 *   | { kind: "message", message: Message } | { kind: "proof", proof: KeptProof }
 *   | { kind: "sending", sending: Sending }} ClientEvent
 */

/**
 * @typedef {object} Client
 * @property {Bytes} deviceId
 * @property {Bytes | null} origin
 * @property {ClientState} state
 * @property {Judgement} judgement
 * @property {NoiseError | null} failure
 * @property {NoiseError | null} lastProblem
 * @property {Roster | null} roster
 * @property {{ epoch: bigint, timeMs: bigint, heardAtMs: number } | null} freshness
 * @property {(listener: (event: ClientEvent) => void) => () => void} subscribe
 * @property {(recipients: (Bytes | string)[], data: Bytes) => Promise<Sending>} send
 * @property {() => Message[]} messages
 * @property {() => Sending[]} unsent
 * @property {() => Pair[]} pairs
 * @property {() => KeptProof[]} proofs
 * @property {(peer: Bytes | null) => Promise<Bytes>} exportView
 * @property {(data: Bytes) => Promise<Bytes>} importView
 * @property {() => Promise<void>} close
 */

/** @typedef {{ name: string, origin: string | null, deviceId: string, isOpen: boolean }} DeviceListed */

/**
 * @typedef {object} Lie
 * @property {string} name
 * @property {string} title
 * @property {string} summary
 * @property {string} group
 * @property {string[]} by roles that can tell it, the usual one first
 */

/** @typedef {{ epoch: string, by: string | null, victim: string | null }} Told */
/** @typedef {{ name: string, by: string | null, state: "armed" | "told" | "served", told: Told[] }} LieTold */

/**
 * What the server says about itself, for the picture only. u64 are texts.
 * @typedef {object} DemoState
 * @property {string} origin
 * @property {boolean} can_lie
 * @property {number} started_ms
 * @property {{ name: string, device_id: string }[]} bots
 * @property {Lie[]} lies
 * @property {LieTold | null} lie
 * @property {Pipeline} pipeline
 */

/**
 * @typedef {object} Pipeline
 * @property {string} epoch
 * @property {Record<string, { taken: number, passed: number }>} actors
 * @property {number} n_messages
 * @property {number} n_deliveries
 * @property {number} connections
 */

export {};
