export { check } from "./evidence_equivocations.js";
