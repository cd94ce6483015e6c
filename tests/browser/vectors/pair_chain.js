import { fromHex } from "../../../clients/browser/protocol/bytes.js";
import { CHAIN_ITEM, CUT, KnownCuts, compare, newChain } from "../../../clients/browser/protocol/pair_chain.js";

function cutOf({ epoch, length, head }) {
  return { epoch: BigInt(epoch), length: BigInt(length), head: fromHex(head) };
}

export async function check(vectors, t) {
  const [alice, bob] = [fromHex(vectors.devices.alice), fromHex(vectors.devices.bob)];
  const items = vectors.items.map(({ seq, env_hash }) => ({ seq: fromHex(seq), env_hash: fromHex(env_hash) }));
  const steps = vectors.steps.map(cutOf);
  const empty = newChain(alice, bob);
  t.equal(newChain(bob, alice), empty, "one chain for both");
  t.equal(empty.pair, vectors.pair, "pair");

  let chain = empty;
  t.equal(chain.head, vectors.heads[0], "head of the empty chain");
  for (const [i, { seq, env_hash }] of items.entries()) {
    chain = chain.append(seq, env_hash);
    t.equal(chain.head, vectors.heads[i + 1], `head ${i + 1}`);
    t.equal(empty.extend(items.slice(0, i + 1)), chain, `${i + 1} items at once`);
    t.equal(CHAIN_ITEM.decode(CHAIN_ITEM.encode(items[i])), items[i], "encoded item");
    for (const step of steps.filter(({ length }) => length === chain.length)) {
      t.equal(chain.cutAt(step.epoch), step, `cut at ${step.epoch}`);
    }
  }

  for (const { why, first_epoch, next_epoch, cut, encoded, comparison } of vectors.compared) {
    const first = BigInt(first_epoch);
    const base = first === 0n ? empty.cutAt(0n) : steps.find(({ epoch }) => epoch === first);
    const kept = steps.filter(({ epoch }) => epoch > first);
    t.equal(compare(new KnownCuts(base, kept, BigInt(next_epoch)), cutOf(cut)), comparison, why);
    t.equal(CUT.encode(cutOf(cut)), encoded, `encoded: ${why}`);
    t.equal(CUT.decode(fromHex(encoded)), cutOf(cut), `decoded: ${why}`);
  }
  for (const { why, one, other, code } of vectors.refused) {
    await t.refuses(code, () => newChain(fromHex(one), fromHex(other)), why);
  }
  await t.refuses("malformed", () => empty.append(items[0].env_hash, items[0].env_hash), "a seq of 32 bytes");
}
