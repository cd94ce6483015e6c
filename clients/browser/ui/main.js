/**
 * Starts the page, or says in plain words why it cannot run here and what to do.
 *
 * Knows nothing of what the page shows. The page itself is loaded only when the browser has what it needs.
 * @module
 */

import { byId, h, icon, replaceContent } from "./elements.js";

/** @typedef {{ title: string, text: string }} Obstacle */

/** @returns {Promise<Obstacle | null>} */
async function findObstacle() {
  if (!isSecureContext || crypto.subtle === undefined) {
    const local = `http://localhost${location.port ? `:${location.port}` : ""}/`;
    return {
      title: "This is not a secure context, so there are no keys.",
      text:
        `Browsers make keys and check signatures only on pages that nobody could have changed on the way: those of ` +
        `https, and those of this very machine. Open ${local} on the machine where the server runs, or put the ` +
        `server behind https.`,
    };
  }
  if (!("indexedDB" in globalThis) || indexedDB === null || !(await canStore())) {
    return {
      title: "This browser gives the page no storage.",
      text:
        "A device keeps its keys and what it has verified in IndexedDB. Leave the private window, or allow this " +
        "address to store data, and load the page again.",
    };
  }
  if (navigator.locks === undefined || !(await hasCurves())) {
    return {
      title: "This browser is too old for the page.",
      text: "It lacks Ed25519 and X25519 in WebCrypto, or Web Locks. Current versions of all large browsers have them.",
    };
  }
  return null;
}

/** @returns {Promise<boolean>} */
function canStore() {
  return new Promise((resolve) => {
    try {
      const request = indexedDB.open("noise-probe");
      request.onerror = () => resolve(false);
      request.onsuccess = () => {
        request.result.close();
        indexedDB.deleteDatabase("noise-probe");
        resolve(true);
      };
    } catch {
      resolve(false);
    }
  });
}

async function hasCurves() {
  try {
    await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    await crypto.subtle.generateKey("X25519", false, ["deriveBits"]);
    return true;
  } catch {
    return false;
  }
}

/** @param {Obstacle} obstacle */
function showObstacle({ title, text }) {
  document.body.dataset.phase = "unavailable";
  replaceContent(
    byId("start"),
    h(
      "div",
      { class: "notice", role: "alert" },
      icon("warning"),
      h("div", null, h("strong", null, title), h("p", null, text)),
    ),
  );
}

async function start() {
  const obstacle = await findObstacle();
  if (obstacle !== null) {
    showObstacle(obstacle);
    return;
  }
  try {
    const { App } = await import("./app.js");
    await new App().start();
  } catch (error) {
    showObstacle({
      title: "The page could not start.",
      text: `A part of it did not load, or failed: ${error instanceof Error ? error.message : error}. Load it again.`,
    });
    throw error;
  }
}

void start();
