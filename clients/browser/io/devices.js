/**
 * The devices that this browser keeps for this site: to list, to make, to delete, and to hold one against other tabs.
 *
 * Knows nothing of providers. Each device is a database of its own, whose keys no script can read; whoever has it open
 * holds a Web Lock of its name for as long, which ends with the page.
 * @module
 */

import { deviceIdOf, formatId } from "../protocol/identifiers.js";
import { Signer } from "../protocol/signing.js";
import { TrustStoreError } from "./errors.js";
import { deleteDatabase, listDatabases, openDatabase } from "./indexed_db.js";
import { TrustStore, firstRows } from "./trust_store.js";

const PREFIX = "noise-device-";
const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/;

/** A page that is being loaded again lets go of its device a moment after the next one asks for it. */
const LOCK_WAIT_MS = 500;

/**
 * `origin`: the provider's id as text, once one is pinned. `isOpen`: a page of this browser has it open.
 * @typedef {{ name: string, origin: string | null, deviceId: string, isOpen: boolean }} DeviceListing
 */

/** Throws TrustStoreError "insecure-context" where browsers keep no keys: on plain http to another machine. */
export function checkSecureContext() {
  if (globalThis.isSecureContext) return;
  throw new TrustStoreError("keys need https, or http to this very machine (127.0.0.1, localhost)", "insecure-context");
}

/** @param {string} name */
function lockName(name) {
  return `${PREFIX}${name}`;
}

/** @param {string} name */
function checkName(name) {
  if (!NAME.test(name)) throw new TrustStoreError("a name has 1 to 32 small letters, digits and hyphens", "bad-name");
}

/**
 * All devices, by name. Throws TrustStoreError.
 * @returns {Promise<DeviceListing[]>}
 */
export async function listDevices() {
  checkSecureContext();
  const held = (await navigator.locks.query()).held ?? [];
  const open = new Set(held.map((lock) => lock.name));
  const listings = (await listDatabases(PREFIX)).map((database) => readListing(database, open));
  const found = (await Promise.all(listings)).filter((listing) => listing !== null);
  return found.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
}

/**
 * @param {string} database
 * @param {Set<string | undefined>} open
 * @returns {Promise<DeviceListing | null>} null: it is gone meanwhile
 */
async function readListing(database, open) {
  const name = database.slice(PREFIX.length);
  try {
    const opened = await openDatabase(database);
    try {
      const device = (await opened.readAll(["device"])).get("device");
      const origin = device?.get("origin");
      const deviceId = formatId(deviceIdOf(device?.get("key").public_key));
      return { name, origin: origin ? formatId(origin) : null, deviceId, isOpen: open.has(lockName(name)) };
    } finally {
      opened.close();
    }
  } catch (error) {
    if (error instanceof TrustStoreError && error.code === "device-missing") return null;
    throw error;
  }
}

/**
 * Make a device with a new key; its name. Without a name it gets the first free one: "device-1" and so on.
 *
 * Throws TrustStoreError: "device-exists", "bad-name", and why the browser keeps nothing.
 * @param {string} [name]
 * @returns {Promise<string>}
 */
export async function createDevice(name) {
  checkSecureContext();
  const wanted = name ?? (await freeName());
  checkName(wanted);
  const signer = await Signer.generate();
  const saltSecret = crypto.getRandomValues(new Uint8Array(32));
  try {
    const made = await openDatabase(PREFIX + wanted, firstRows(signer.privateKey, signer.publicKey, saltSecret));
    made.close();
  } catch (error) {
    const isTaken = error instanceof TrustStoreError && error.code === "device-exists" && name === undefined;
    if (!isTaken) throw error;
    return createDevice(); // another tab was faster
  }
  return wanted;
}

async function freeName() {
  const taken = new Set(await listDatabases(PREFIX));
  let number = 1;
  while (taken.has(`${PREFIX}device-${number}`)) number++;
  return `device-${number}`;
}

/**
 * Delete a device, with its key and all that it knows.
 *
 * Throws TrustStoreError: "device-locked" while it is open, "store-blocked" when it is deleted later.
 * @param {string} name
 */
export async function deleteDevice(name) {
  const release = await lockDevice(name, () => {}); // whoever steals it finds none
  try {
    await deleteDatabase(PREFIX + name);
  } finally {
    release();
  }
}

/**
 * Hold a device against all other pages, until the function that this returns is called, or the page ends.
 *
 * `onLost`: called when somebody took it meanwhile, as any script of this site can.
 *
 * Throws TrustStoreError "device-locked" when another page has it.
 * @param {string} name
 * @param {() => void} onLost
 * @returns {Promise<() => void>}
 */
export async function lockDevice(name, onLost) {
  checkSecureContext();
  checkName(name);
  return new Promise((resolve, reject) => {
    const options = { signal: AbortSignal.timeout(LOCK_WAIT_MS) };
    let isHeld = false;
    const held = navigator.locks.request(lockName(name), options, () => {
      isHeld = true;
      return new Promise((release) => resolve(() => release(undefined)));
    });
    held.catch(() => {
      if (isHeld) onLost();
      const detail = "this device is open in another tab: use that one, or make a device";
      reject(new TrustStoreError(detail, "device-locked"));
    });
  });
}

/**
 * Open a device's store. Throws TrustStoreError: "device-missing", and why the browser cannot read it.
 * @param {string} name
 */
export async function openStore(name) {
  return TrustStore.open(PREFIX + name);
}
