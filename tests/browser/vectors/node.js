/**
 * The golden vectors in Node: `node tests/browser/vectors/node.js [NAME…]`. Prints one JSON line for each file.
 * @module
 */

import { readFile, readdir } from "node:fs/promises";
import { runVectors } from "./run.js";

const directory = new URL("../../vectors/", import.meta.url);
const all = (await readdir(directory)).filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5));
const names = process.argv.length > 2 ? process.argv.slice(2) : all.sort();
const results = await runVectors(names, async (name) =>
  JSON.parse(await readFile(new URL(`${name}.json`, directory), "utf-8")),
);
for (const result of results) console.log(JSON.stringify(result));
process.exitCode = results.some((result) => result.failures.length) ? 1 : 0;
