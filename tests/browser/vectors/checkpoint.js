import { concat, fromHex, toHex, utf8 } from "../../../clients/browser/protocol/bytes.js";
import { keyId, logNameOf, parseCheckpoint, verifyCheckpoint } from "../../../clients/browser/protocol/checkpoint.js";
import { verifyRaw } from "../../../clients/browser/protocol/signing.js";
import { signerOf } from "./private_keys.js";

const base64 = (data) => btoa(String.fromCharCode(...data));
const parseBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function checkExamples({ c2sp_example: c2sp }, t) {
  const [checkpoint, text, hint, signature] = parseCheckpoint(utf8(c2sp.note));
  t.equal(checkpoint.log_name, c2sp.checkpoint.log_name, "C2SP name");
  t.equal(checkpoint.size, BigInt(c2sp.checkpoint.size), "C2SP size");
  t.equal(checkpoint.root, c2sp.checkpoint.root, "C2SP root");
  t.equal(text, toHex(utf8(`${c2sp.note.split("\n\n")[0]}\n`)), "C2SP signed text");
  t.equal(hint, c2sp.key_id, "C2SP key id");
  t.equal(signature, c2sp.signature, "C2SP signature");
}

async function checkGoExample({ vkey, text, line }, t) {
  const [name, id, encoded] = vkey.split("+");
  const key = parseBase64(encoded).slice(1);
  const signed = parseBase64(line);
  t.equal(keyId(name, key), id, "Go's key id");
  t.equal(signed.slice(0, 4), id, "Go's key id in the line");
  await verifyRaw(key, signed.slice(4), utf8(text));
}

export async function check(vectors, t) {
  const key = fromHex(vectors.public_key);
  t.equal(logNameOf(fromHex(vectors.origin)), vectors.log_name, "log name");
  t.equal(keyId(vectors.log_name, key), vectors.key_id, "key id");
  const vkey = `${vectors.log_name}+${vectors.key_id}+${base64(concat(Uint8Array.of(1), key))}`;
  t.equal(vkey, vectors.vkey, "verifier key");
  checkExamples(vectors, t);
  await checkGoExample(vectors.go_example, t);
  const signer = await signerOf(fromHex(vectors.seed));
  t.equal(signer.publicKey, vectors.public_key, "public key");
  for (const { checkpoint, note } of vectors.accepted) {
    const { log_name: name, size, root } = checkpoint;
    const text = utf8(`${name}\n${size}\n${base64(fromHex(root))}\n`);
    const line = base64(concat(keyId(name, key), await signer.signRaw(text)));
    t.equal(concat(text, utf8(`\n\u2014 ${name} ${line}\n`)), toHex(utf8(note)), `note of size ${size}`);
    const expected = { log_name: name, size: BigInt(size), root: fromHex(root) };
    t.equal(await verifyCheckpoint(utf8(note), name, key), expected, `checkpoint of size ${size}`);
  }
  for (const { why, note, code } of vectors.refused) {
    await t.refuses(code, () => verifyCheckpoint(fromHex(note), vectors.log_name, key), why);
  }
}
