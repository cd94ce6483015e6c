/**
 * The golden vectors in a browser: the page of `page.html`. Posts what came of them to `/results`.
 * @module
 */

import { runVectors } from "./run.js";

const names = await (await fetch("/vectors")).json();
const results = await runVectors(names, async (name) => (await fetch(`/tests/vectors/${name}.json`)).json());
await fetch("/results", { method: "POST", body: JSON.stringify({ agent: navigator.userAgent, results }) });
