import { check as checkStructures } from "./structures.js";

/** What auditors exchange: to audit is not a browser's business. */
const NOT_IN_BROWSERS = ["audit_page.AuditLane", "audit_page.AuditMessage", "audit_page.AuditPage"];

/** Every structure of the log is there and encodes as it should, but for those that are named above, and no others. */
export async function check(vectors, t) {
  const left = Object.keys(vectors).filter((name) => NOT_IN_BROWSERS.includes(name));
  t.equal(left.sort(), NOT_IN_BROWSERS, "structures that browsers do not have");
  await checkStructures(Object.fromEntries(Object.entries(vectors).filter(([name]) => !left.includes(name))), t);
}
