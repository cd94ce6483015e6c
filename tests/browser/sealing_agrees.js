/**
 * Opens what Python sealed and seals what Python shall open: JSON on standard input, JSON on standard output, bytes in hex.
 *
 * Knows nothing of what is expected: `test_sealing_agrees.py` compares.
 * @module
 */

import { text } from "node:stream/consumers";
import { fromHex, toHex } from "../../clients/browser/protocol/bytes.js";
import { Recipients } from "../../clients/browser/protocol/envelope.js";
import { AgreementKey } from "../../clients/browser/protocol/hpke.js";
import { openBox, openCommon, seal, sealContext } from "../../clients/browser/protocol/sealing.js";
import { agreementKeyOf } from "./vectors/private_keys.js";

async function sealOne({ origin, sender, ctr, env_salt, boxes, kind, body, content_key }) {
  const ids = Object.keys(boxes).sort();
  const recipients = new Recipients({ env_salt: fromHex(env_salt), device_ids: ids.map(fromHex) });
  const given = ids.map((id) => [
    id,
    {
      prekey_id: fromHex(boxes[id].prekey_id),
      public: fromHex(boxes[id].public),
      gossip: fromHex(boxes[id].gossip),
    },
  ]);
  const [common, ciphertexts] = await seal(
    fromHex(origin),
    fromHex(sender),
    BigInt(ctr),
    recipients,
    { kind, body: fromHex(body) },
    fromHex(content_key),
    new Map(given),
  );
  return { root: toHex(recipients.root), common: toHex(common), ciphertexts: ciphertexts.map(toHex) };
}

async function openOne({ origin, sender, ctr, root, common, device_id, ciphertext, private_key }) {
  const context = sealContext(fromHex(origin), fromHex(sender), BigInt(ctr), fromHex(root));
  const key = await agreementKeyOf(fromHex(private_key));
  const box = await openBox(context, fromHex(device_id), fromHex(ciphertext), key);
  const { kind, body } = await openCommon(context, fromHex(common), box.content_key);
  return { kind, body: toHex(body), gossip: toHex(box.gossip) };
}

const { messages, sealed } = JSON.parse(await text(process.stdin));
const answer = {
  sealed: await Promise.all(messages.map(sealOne)),
  opened: await Promise.all(sealed.map(openOne)),
  generated: toHex((await AgreementKey.generate()).publicKey),
};
console.log(JSON.stringify(answer));
