import { fromHex } from "../../../clients/browser/protocol/bytes.js";
import { Actor, Role, parseActor } from "../../../clients/browser/protocol/identifiers.js";
import { Rendezvous } from "../../../clients/browser/protocol/placement.js";

export async function check(vectors, t) {
  const sharded = new Rendezvous(vectors.sharded_actors.map((actor) => parseActor(fromHex(actor))));
  for (const [name, deviceId] of Object.entries(vectors.device_ids)) {
    const id = fromHex(deviceId);
    for (const [i, number] of vectors.numbers_among_1_to_8_outboxes[name].entries()) {
      const outboxes = Array.from({ length: i + 1 }, (_, place) => new Actor(Role.OUTBOX, 0, place));
      t.equal(new Rendezvous(outboxes).actor(id).number, number, `${name} among ${i + 1} outboxes`);
    }
    const placed = vectors.actors_among_sharded[name];
    t.equal(sharded.actor(id).encode(), placed, `${name} among sharded actors`);
    t.equal(sharded.actor(id).encode(), placed, `${name} among sharded actors, remembered`);
  }
}
