import { fromHex, toHex } from "../../../clients/browser/protocol/bytes.js";
import { SECTION, openSection } from "../../../clients/browser/protocol/delta.js";
import { Recipients, openBundle } from "../../../clients/browser/protocol/envelope.js";

export async function check(vectors, t) {
  const origin = fromHex(vectors.origin);
  const lists = new Map();
  for (const { env_salt, device_ids, root } of vectors.recipients) {
    const members = new Recipients({ env_salt: fromHex(env_salt), device_ids: device_ids.map(fromHex) });
    t.equal(members.root, root, "root of a list");
    lists.set(root, members);
  }
  const find = (root) => lists.get(toHex(root));
  const bundle = await openBundle(fromHex(vectors.bundle), origin);
  for (const { mailbox, epoch, encoded, indexes, deliveries, own_ciphertexts } of vectors.sections) {
    const section = SECTION.decode(fromHex(encoded));
    t.equal(SECTION.encode(section), encoded, `section for ${mailbox}`);
    t.equal(SECTION.fromJson(SECTION.toJson(section)), section, `section for ${mailbox} by way of its JSON`);
    t.equal(section.indexes, indexes, `indexes for ${mailbox}`);
    t.equal([section.key, section.signature], [bundle.key, bundle.signature], `the bundle's signature for ${mailbox}`);
    const opened = await openSection(section, origin, fromHex(mailbox), BigInt(epoch), find);
    t.equal(opened.deliveries.length, deliveries.length, `count of deliveries for ${mailbox}`);
    opened.deliveries.forEach((delivery, i) =>
      checkDelivery(delivery, deliveries[i], `delivery ${i} for ${mailbox}`, t),
    );
    const own = own_ciphertexts.map(({ seq, hash }) => [fromHex(seq), fromHex(hash)]);
    t.equal(opened.own_ciphertexts, own, `own ciphertexts for ${mailbox}`);
  }
  const [whole, partial] = vectors.sections.map(({ encoded }) => SECTION.decode(fromHex(encoded)));
  const [ours, theirs] = vectors.sections.map(({ mailbox }) => fromHex(mailbox));
  const everything = { ...whole, indexes: whole.rows.map((_, i) => i) };
  await t.refuses("malformed", () => openSection(everything, origin, ours, 0n, find), "all of the bundle, one by one");
  const again = { ...partial, roots: partial.roots.map(() => partial.roots[0]) };
  await t.refuses("malformed", () => openSection(again, origin, theirs, 0n, find), "one list for two");
  for (const { why, mailbox, encoded, code } of vectors.refused) {
    const section = SECTION.decode(fromHex(encoded));
    await t.refuses(code, () => openSection(section, origin, fromHex(mailbox), 0n, find), why);
  }
}

function checkDelivery(delivery, stored, what, t) {
  for (const name of ["seq", "sender", "common", "ciphertext", "leaf"]) {
    t.equal(delivery[name], stored[name], `${name} of ${what}`);
  }
  t.equal(delivery.sender_ctr, BigInt(stored.sender_ctr), `counter of ${what}`);
  t.equal(delivery.created_ms, BigInt(stored.created_ms), `time of ${what}`);
  t.equal(delivery.recipients.root, stored.recipients_root, `recipients of ${what}`);
}
