/**
 * Runs the golden vectors against the browser client's protocol: in Node, in Chromium, in Firefox, with the same code.
 *
 * Knows nothing of what is in the vectors: for each `tests/vectors/<name>.json` there is a `<name>.js` here, whose
 * `check(vectors, t)` compares. Nothing here knows where files come from: `load(name)` gives the parsed JSON.
 * @module
 */

import { same, toHex } from "../../../clients/browser/protocol/bytes.js";
import { NoiseError } from "../../../clients/browser/protocol/errors.js";

/** What a vector module gets to compare with. Every call counts as one comparison. */
export class Comparison {
  /** @param {string} file */
  constructor(file) {
    this.file = file;
    this.count = 0;
    /** @type {string[]} */
    this.failures = [];
  }

  /**
   * Both are the same value; bytes may be given as hex on the expected side.
   * @param {unknown} actual
   * @param {unknown} expected
   * @param {string} what names the case, for a person
   */
  equal(actual, expected, what) {
    this.count++;
    const wanted =
      actual instanceof Uint8Array && typeof expected === "string"
        ? toHex(actual) === expected
        : same(actual, expected);
    if (!wanted) this.failures.push(`${this.file}: ${what}: got ${show(actual)}, expected ${show(expected)}`);
  }

  /**
   * The call throws a NoiseError with this code, at once or in its promise.
   * @param {string} code
   * @param {() => unknown} call
   * @param {string} what
   */
  async refuses(code, call, what) {
    this.count++;
    try {
      const value = await call();
      this.failures.push(`${this.file}: ${what}: accepted as ${show(value)}, expected ${code}`);
    } catch (error) {
      if (!(error instanceof NoiseError)) {
        this.failures.push(`${this.file}: ${what}: threw ${error instanceof Error ? error.stack : error}`);
      } else if (error.code !== code) {
        this.failures.push(`${this.file}: ${what}: refused as ${error.code}, expected ${code}`);
      }
    }
  }
}

/** @param {unknown} value */
function show(value) {
  const text = JSON.stringify(value, (_, part) =>
    typeof part === "bigint" ? `${part}n` : part instanceof Uint8Array ? toHex(part) : part,
  );
  return text === undefined ? String(value) : text.slice(0, 400);
}

/**
 * Compare all of these files.
 * @param {string[]} names without ".json"
 * @param {(name: string) => Promise<any>} load
 */
export async function runVectors(names, load) {
  const results = [];
  for (const name of names) {
    const comparison = new Comparison(name);
    try {
      const { check } = await import(`./${name}.js`);
      await check(await load(name), comparison);
    } catch (error) {
      comparison.failures.push(`${name}: ${error instanceof Error ? error.stack : error}`);
    }
    if (comparison.count === 0) comparison.failures.push(`${name}: nothing was compared`);
    results.push({ name, count: comparison.count, failures: comparison.failures });
  }
  return results;
}
