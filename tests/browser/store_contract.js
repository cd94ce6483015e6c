/**
 * The contract of the browser's trust store, sentence by sentence. Each check gets `t`: `open(name)` opens a device's store,
 * `reopen(store)` commits, closes and opens it again; `equal` and `throws` judge.
 *
 * Knows nothing of how a page is driven.
 */

import { openDatabase } from "../../clients/browser/io/indexed_db.js";
import { NOTES_MAX, PROOFS_MAX } from "../../clients/browser/io/evidence_store.js";
import { createDevice, deleteDevice, listDevices, lockDevice } from "../../clients/browser/io/devices.js";
import { TrustStoreError } from "../../clients/browser/io/errors.js";
import { Incoming } from "../../clients/browser/io/receiving.js";
import { StoreCalls } from "../../clients/browser/io/serial.js";
import { MESSAGES_BYTES_MAX, MESSAGES_MAX, OFFENCES_MAX, TrustStore } from "../../clients/browser/io/trust_store.js";
import { concat, same, toHex, utf8, zeros } from "../../clients/browser/protocol/bytes.js";
import { NoiseError } from "../../clients/browser/protocol/errors.js";
import { AgreementKey } from "../../clients/browser/protocol/hpke.js";
import { deviceIdOf, formatId, makeSeq } from "../../clients/browser/protocol/identifiers.js";
import { EMPTY_RANGE, leafHash } from "../../clients/browser/protocol/merkle.js";
import { FALLBACK, NO_PREKEY_ID, ONE_TIME, prekeyIdOf } from "../../clients/browser/protocol/prekeys.js";

const id = (n) => new Uint8Array(32).fill(n);
const [A, B, C] = [id(1), id(2), id(3)];
const ORIGIN = id(9);
const U64_MAX = 2n ** 64n - 1n;
const NONE = new Map();
const NOTHING = { records: [], messages: [], sets: [], notes: [], spent: [] };

const message = (n, size = 5) => ({
  seq: makeSeq(3n, 0, n),
  epoch: 3n,
  sender: B,
  sender_ctr: BigInt(n),
  created_ms: U64_MAX,
  recipients: [A, B],
  data: new Uint8Array(size).fill(n),
  seal: 1,
  heardAtMs: 1_700_000_000_000,
});
const queued = (n, size = 5) => ({ recipients: [A, C], data: new Uint8Array(size).fill(n), created_ms: 7n, kind: 1 });
const root = (members) => leafHash(concat(...members));
/** The gain of one epoch: record `k`, with one message to these. */
const gained = (k, members) => ({
  ...NOTHING,
  records: [{ k: BigInt(k), record: utf8(`record ${k}`) }],
  messages: [{ seq: makeSeq(BigInt(k), 0, 0), k: BigInt(k), recipients_root: root(members), leaf: utf8(`leaf ${k}`) }],
  sets: [[root(members), { env_salt: zeros(16), device_ids: members }]],
});
const pair = (peer, length, epoch = -1n) => ({
  peer,
  base_seq: makeSeq(3n, 0, Number(length)),
  base_length: length,
  base_head: id(7),
  matched_length: length,
  matched_epoch: epoch,
  disputed_seq: zeros(0),
});
const note = (size, is_distinguished = false, text = "note") => ({ size, note: utf8(text), is_distinguished });
const prekey = async (number, kind) => {
  const { privateKey, publicKey } = await AgreementKey.generate();
  return { prekey_id: prekeyIdOf(number), kind, private_key: privateKey, public: publicKey, made_ms: 5n };
};
const base = (size) => {
  let range = EMPTY_RANGE;
  for (let k = 0n; k < size; k++) range = range.append(leafHash(utf8(`record ${k}`)));
  return range;
};
const step = (store, ...messages) => store.saveStep(ORIGIN, utf8("trusted"), NONE, messages);

export const checks = {
  async a_new_store_holds_its_device_and_nothing_else(t) {
    const store = await t.open();
    const { origin, trusted, bundle, salt_secret, public_key } = store.load();
    t.equal([origin, trusted.length, bundle.length, salt_secret.length, public_key.length], [null, 0, 0, 32, 32]);
    t.equal([store.nextCounter(), store.lastCounter(B)], [1n, null]);
    t.equal([store.messages(), store.queued(9, 9), store.offences()], [[], [], []]);
    t.equal([store.records(0n), store.leaves(0n), store.recipientSet(A), store.base().size], [[], [], null, 0n]);
    t.equal([store.chainLeaves(B, zeros(0), 9), store.peers(2n ** 62n), store.pair(B)], [[], [], null]);
    t.equal([store.notes(), store.receipts(), store.proofs(), store.prekeys(ONE_TIME)], [[], [], [], []]);
    t.equal([store.prekey(zeros(8)), store.lastPrekeyId(), store.evidenceBytes()], [null, NO_PREKEY_ID, [0, 0]]);
  },

  async keys_cannot_be_read_and_stay(t) {
    const store = await t.open();
    const { private_key, public_key, salt_secret } = store.load();
    t.equal(private_key.extractable, false);
    await t.throws("InvalidAccessError", () => crypto.subtle.exportKey("pkcs8", private_key));
    store.savePrekeys([await prekey(1n, FALLBACK)]);
    const later = await t.reopen(store);
    t.equal([later.load().public_key, later.load().salt_secret], [public_key, salt_secret]);
    t.equal(later.load().private_key.extractable, false);
    const [kept] = later.prekeys(FALLBACK);
    t.equal(kept.private_key.extractable, false);
    await t.throws("InvalidAccessError", () => crypto.subtle.exportKey("pkcs8", kept.private_key));
    const signature = await crypto.subtle.sign("Ed25519", later.load().private_key, utf8("hello"));
    const key = await crypto.subtle.importKey("raw", public_key, "Ed25519", true, ["verify"]);
    t.equal(await crypto.subtle.verify("Ed25519", key, signature, utf8("hello")), true);
  },

  async a_step_is_kept_whole(t) {
    const store = await t.open();
    const messages = [message(0), message(1)];
    store.saveStep(ORIGIN, utf8("one"), new Map([[toHex(B), U64_MAX - 1n]]), messages, gained(0, [A, B]));
    const later = await t.reopen(store);
    t.equal([later.load().origin, later.load().trusted], [ORIGIN, utf8("one")]);
    t.equal([later.lastCounter(B), later.messages()], [U64_MAX - 1n, messages]);
    t.equal([later.records(0n), later.leaves(0n)], [[utf8("record 0")], [utf8("leaf 0")]]);
    t.equal(later.recipientSet(root([A, B])).device_ids, [A, B]);
  },

  async a_step_replaces_trust_and_counters_and_adds_messages(t) {
    const store = await t.open();
    store.saveStep(
      ORIGIN,
      utf8("one"),
      new Map([
        [toHex(B), 1n],
        [toHex(C), 5n],
      ]),
      [message(0)],
    );
    store.saveStep(ORIGIN, utf8("two"), new Map([[toHex(B), 2n]]), []);
    store.saveStep(ORIGIN, utf8("three"), NONE, [message(1)]);
    const later = await t.reopen(store);
    t.equal([later.load().trusted, later.lastCounter(B), later.lastCounter(C)], [utf8("three"), 2n, 5n]);
    t.equal(later.messages(), [message(0), message(1)]);
  },

  async our_own_counter_moves_the_next_one(t) {
    const store = await t.open();
    const own = (ctr) => store.saveStep(ORIGIN, utf8("t"), new Map([[toHex(t.deviceId(store)), ctr]]), []);
    own(4n);
    t.equal(store.nextCounter(), 5n);
    store.freeze(utf8("bundle"), 9n);
    own(6n);
    t.equal((await t.reopen(store)).nextCounter(), 9n);
  },

  async the_newest_messages_are_kept(t) {
    const store = await t.open();
    for (let n = 0; n < MESSAGES_MAX + 3; n++) step(store, message(n));
    t.equal([store.messages().length, store.messages()[0].seq], [MESSAGES_MAX, makeSeq(3n, 0, 3)]);
    const later = await t.reopen(store);
    t.equal(
      later.messages().map(({ seq }) => seq),
      store.messages().map(({ seq }) => seq),
    );
    step(later, message(5000, MESSAGES_BYTES_MAX));
    t.equal((await t.reopen(later)).messages(), [message(5000, MESSAGES_BYTES_MAX)]);
  },

  async the_queue_is_served_from_its_head(t) {
    const store = await t.open();
    t.equal(store.addQueued([queued(1), queued(2)]), [1, 2]);
    t.equal(store.addQueued([queued(3)]), [3]);
    t.equal(store.queued(2, 1 << 20), [queued(1), queued(2)]);
    t.equal(store.queued(9, 1), [queued(1)]);
    store.freeze(utf8("bundle"), 3n);
    let later = await t.reopen(store);
    t.equal([later.load().bundle, later.nextCounter(), later.queued(9, 1 << 20).length], [utf8("bundle"), 3n, 3]);
    later.finish(2);
    later = await t.reopen(later);
    t.equal([later.load().bundle.length, later.queued(9, 1 << 20), later.nextCounter()], [0, [queued(3)], 3n]);
    t.equal(later.addQueued([queued(4)]), [4]);
    t.equal(
      later.allQueued().map(([number]) => number),
      [3, 4],
    );
  },

  async the_last_offences_are_kept(t) {
    const store = await t.open();
    const offence = (n) => ({ time_ms: BigInt(n), code: "bad-proof", detail: "why", evidence: [utf8(`${n}`), A] });
    for (let n = 0; n < OFFENCES_MAX + 2; n++) store.saveOffence(offence(n));
    const kept = (await t.reopen(store)).offences();
    t.equal([kept.length, kept[0], kept.at(-1)], [OFFENCES_MAX, offence(2), offence(OFFENCES_MAX + 1)]);
  },

  async what_is_gained_is_kept_once(t) {
    const store = await t.open();
    store.gain(gained(0, [A, B]));
    store.gain({ ...gained(0, [A, B]), records: [{ k: 0n, record: utf8("another") }] });
    store.gain(gained(1, [A, B, C]));
    store.gain(gained(2, [A, B]));
    const later = await t.reopen(store);
    t.equal(
      later.records(0n),
      [0, 1, 2].map((k) => utf8(`record ${k}`)),
    );
    t.equal(later.records(1n).length, 2);
    t.equal(later.leaves(0n), [utf8("leaf 0")]);
    t.equal(later.chainLeaves(B, zeros(0), 9).length, 3);
    t.equal(later.chainLeaves(B, makeSeq(0n, 0, 0), 1), [utf8("leaf 1")]);
    t.equal([later.chainLeaves(C, zeros(0), 9), later.chainLeaves(id(8), zeros(0), 9)], [[utf8("leaf 1")], []]);
    t.equal(
      [later.peers(1n), later.peers(2n)],
      [
        [A, B],
        [A, B, C],
      ],
    );
    t.equal(later.evidenceBytes(), [3, 3 * 8 + 3 * (48 + 6) + 48 * 2 + 32 * 5]);
  },

  async what_is_forgotten_is_gone(t) {
    const store = await t.open();
    for (const [k, members] of [
      [A, B],
      [A, C],
      [A, B],
    ].entries())
      store.gain(gained(k, members));
    store.forget(base(2n), [pair(B, 1n), pair(C, 1n)]);
    for (const one of [store, await t.reopen(store)]) {
      t.equal([one.base().size, one.base().peaks], [2n, base(2n).peaks]);
      t.equal([one.records(0n), one.leaves(0n), one.leaves(2n)], [[utf8("record 2")], [], [utf8("leaf 2")]]);
      t.equal([one.recipientSet(root([A, C])), one.recipientSet(root([A, B])).device_ids], [null, [A, B]]);
      t.equal([one.chainLeaves(C, zeros(0), 9), one.peers(9n), one.pair(C)], [[], [A, B], pair(C, 1n)]);
      t.equal(one.knownPeers(), [A, B, C]);
    }
  },

  async pairs_notes_receipts_and_proofs(t) {
    const store = await t.open();
    store.savePairs([pair(B, 1n), pair(C, 2n)]);
    store.savePairs([pair(B, 3n, 7n)]);
    for (let size = 1n; size <= NOTES_MAX + 2; size++) store.saveNote(note(size));
    store.saveNote(note(1n));
    store.saveNote(note(9n, false, "another"));
    store.saveNote(note(9n, true, "distinguished"));
    const receipt = (n) => ({ first_seq: makeSeq(n, 0, 0), bundle: A, receipt: B });
    for (const n of [5n, 4n, 6n]) store.saveReceipt(receipt(n));
    store.dropReceipt(makeSeq(5n, 0, 0));
    const proof = (n) => ({ time_ms: BigInt(n), proof: utf8(`proof ${n}`) });
    t.equal([store.saveProof(proof(0)), store.saveProof({ ...proof(0), time_ms: 5n })], [true, false]);
    for (let n = 1; n < PROOFS_MAX; n++) t.equal(store.saveProof(proof(n)), true);
    t.equal(store.saveProof(proof(PROOFS_MAX)), false);
    const later = await t.reopen(store);
    t.equal([later.pair(B), later.pair(C)], [pair(B, 3n, 7n), pair(C, 2n)]);
    const notes = later.notes();
    t.equal([notes.length, notes[0].size, notes.at(-1).size], [NOTES_MAX + 1, 3n, BigInt(NOTES_MAX) + 2n]);
    const nines = notes.filter(({ size }) => size === 9n);
    t.equal(nines, [note(9n), note(9n, true, "distinguished")]);
    t.equal(later.receipts(), [receipt(4n), receipt(6n)]);
    t.equal([later.proofs().length, later.proofs()[0], later.saveProof(proof(3))], [PROOFS_MAX, proof(0), false]);
  },

  async prekeys_are_spent_and_their_ids_never_come_again(t) {
    const store = await t.open();
    store.savePrekeys([await prekey(1n, FALLBACK), await prekey(2n, ONE_TIME), await prekey(3n, ONE_TIME)]);
    const later = await t.reopen(store);
    t.equal(
      later.prekeys(ONE_TIME).map((k) => k.prekey_id),
      [prekeyIdOf(2n), prekeyIdOf(3n)],
    );
    t.equal([later.prekey(prekeyIdOf(3n)).kind, later.lastPrekeyId()], [ONE_TIME, prekeyIdOf(3n)]);
    later.gain({ ...NOTHING, spent: [prekeyIdOf(3n)] });
    later.dropPrekeys([prekeyIdOf(2n), prekeyIdOf(2n)]);
    const last = await t.reopen(later);
    t.equal([last.prekeys(ONE_TIME), last.prekeys(FALLBACK).length], [[], 1]);
    t.equal([last.prekey(prekeyIdOf(3n)), last.lastPrekeyId()], [null, prekeyIdOf(3n)]);
  },

  async one_call_is_durable_as_a_whole_or_not_at_all(t) {
    const store = await t.open();
    const calls = new StoreCalls(store);
    await calls.run(() => step(store, message(0)));
    const [second, third] = await Promise.all([
      calls.begin(async () => {
        step(store, message(1));
        await new Promise((resolve) => setTimeout(resolve, 30)); // an earlier write may end meanwhile
        store.addQueued([queued(1)]);
      }),
      calls.begin(() => step(store, message(2))),
    ]);
    await Promise.all([second.stored, third.stored]);
    await t.throws("odd", () =>
      calls.run(() => {
        store.addQueued([queued(2)]);
        throw new NoiseError("a refusal is no reason to forget", "odd");
      }),
    );
    await t.throws("TypeError", () =>
      calls.run(() => {
        step(store, message(3));
        throw new TypeError("a mistake of ours is");
      }),
    );
    await t.throws("store-abandoned", () => calls.run(() => step(store, message(4))));
    const later = await t.reopened(store);
    t.equal(later.messages(), [message(0), message(1), message(2)]);
    t.equal(later.queued(9, 1 << 20), [queued(1), queued(2)]);
  },

  async what_cannot_be_stored_changes_nothing_durable(t) {
    const store = await t.open();
    const calls = new StoreCalls(store);
    await calls.run(() => step(store, message(0)));
    await t.throws("store-unavailable", () =>
      calls.run(() => {
        step(store, message(1));
        store.addQueued([{ ...queued(1), data: () => "a function cannot be cloned" }]);
      }),
    );
    await t.throws("store-unavailable", () => calls.run(() => store.addQueued([queued(2)])));
    const later = await t.reopened(store);
    t.equal([later.messages(), later.queued(9, 9)], [[message(0)], []]);
  },

  async an_abandoned_store_writes_nothing_more(t) {
    const store = await t.open();
    step(store, message(0));
    const stored = store.commit();
    store.abandon(new TrustStoreError("another page took the device", "device-locked"));
    await t.throws("device-locked", () => stored);
    await t.throws("device-locked", () => store.commit());
    t.equal((await t.reopened(store)).messages(), []);
  },

  async only_who_opened_it_last_can_write(t) {
    const name = await createDevice();
    const [one, two] = [await t.open(name), await t.open(name)]; // the lock was stolen: they do not know of each other
    step(two, message(0));
    await two.commit();
    step(one, message(1));
    await t.throws("device-locked", () => one.commit());
    step(two, message(2));
    t.equal((await t.reopen(two)).messages(), [message(0), message(2)]);
  },

  async the_origin_stays(t) {
    const store = await t.open();
    const following = new Incoming({ deviceId: A }, store, new StoreCalls(store), null, {});
    step(store, message(0)); // not durable yet, so not shown
    await t.throws("wrong-origin", () => following.follow(B));
    await t.throws("wrong-origin", () => store.saveStep(B, utf8("other"), NONE, [message(1)], gained(0, [A, B])));
    const later = await t.reopen(store);
    t.equal([later.load().origin, later.load().trusted], [ORIGIN, utf8("trusted")]);
    t.equal([later.messages(), later.records(0n)], [[message(0)], []]);
  },

  async a_device_that_somebody_holds_on_to_is_deleted_when_they_let_go(t) {
    const name = await createDevice();
    const held = await new Promise((resolve) => {
      const request = indexedDB.open(`noise-device-${name}`);
      request.onsuccess = () => resolve(request.result);
    });
    await t.throws("store-blocked", () => deleteDevice(name));
    held.close();
    await t.throws("device-missing", () => t.open(name));
  },

  async a_stolen_lock_is_noticed(t) {
    const name = await createDevice();
    const lost = Promise.withResolvers();
    const release = await lockDevice(name, lost.resolve);
    await navigator.locks.request(`noise-device-${name}`, { steal: true }, () => {});
    await lost.promise;
    release(); // has nothing to let go of
    (await lockDevice(name, () => {}))();
  },

  async devices_are_listed_made_and_deleted(t) {
    const [one, two] = [await createDevice(), await createDevice()];
    const store = await t.open(two);
    step(store);
    await store.commit();
    const release = await lockDevice(one, () => {});
    const listed = (await listDevices()).filter(({ name }) => [one, two].includes(name));
    t.equal(
      listed.map(({ isOpen, origin }) => [isOpen, origin]),
      [
        [true, null],
        [false, formatId(ORIGIN)],
      ],
    );
    t.equal(listed[1].deviceId, formatId(t.deviceId(store)));
    await t.throws("device-locked", () => lockDevice(one, () => {}));
    await t.throws("device-locked", () => deleteDevice(one));
    await t.throws("device-exists", () => createDevice(one));
    await t.throws("bad-name", () => createDevice("A B"));
    release();
    await deleteDevice(one);
    await t.throws("device-missing", () => TrustStore.open(`noise-device-${one}`));
    t.equal(
      (await indexedDB.databases()).some(({ name }) => name === `noise-device-${one}`),
      false,
    );
    await deleteDevice(two); // somebody has it open without holding it: it lets go
    await t.throws("store-closed", async () => {
      step(store, message(1));
      await store.commit();
    });
  },

  async what_a_newer_page_has_made_is_left_alone(t) {
    const name = "noise-device-of-tomorrow";
    await new Promise((resolve) => {
      const request = indexedDB.open(name, 99);
      request.onsuccess = () => resolve(request.result.close());
    });
    await t.throws("store-newer", () => openDatabase(name));
  },
};

/**
 * For what the browser is told to do meanwhile: a device with a message, and how to store another one.
 * @param {string} name
 */
export async function begin(name) {
  const store = await TrustStore.open(`noise-device-${await createDevice(name)}`);
  const calls = new StoreCalls(store);
  await calls.run(() => step(store, message(0)));
  window.storeMore = async (n, size) => {
    try {
      await calls.run(() => step(store, message(n, size)));
    } catch (error) {
      return error.code;
    }
    return null;
  };
}

/**
 * How many messages a device holds that nobody has open.
 * @param {string} name
 */
export async function count(name) {
  return (await TrustStore.open(`noise-device-${name}`)).messages().length;
}

class Judge {
  #names = new WeakMap();

  async open(wanted) {
    const name = wanted ?? (await createDevice());
    const store = await TrustStore.open(`noise-device-${name}`);
    this.#names.set(store, name);
    return store;
  }

  async reopened(store) {
    store.close();
    return this.open(this.#names.get(store));
  }

  async reopen(store) {
    await store.commit();
    return this.reopened(store);
  }

  deviceId(store) {
    return deviceIdOf(store.load().public_key);
  }

  equal(actual, expected) {
    if (!same(actual, expected)) throw new Error(`${show(actual)} is not ${show(expected)}`);
  }

  async throws(code, call) {
    try {
      await call();
    } catch (error) {
      if ([error.code, error.name].includes(code)) return;
      throw error;
    }
    throw new Error(`throws no ${code}`);
  }
}

function show(value) {
  return JSON.stringify(value, (_, one) =>
    typeof one === "bigint" ? `${one}` : one instanceof Uint8Array ? toHex(one) : one,
  );
}

/** Run one check. */
export async function run(name) {
  await checks[name](new Judge());
}
