/**
 * The questions of one complaint, and what came of them: custody, admissions, challenges.
 *
 * Knows nothing of transport: it says whom to ask, takes what they answered, and decides. Nothing that a provider
 * answers is believed: an answer that does not verify is none, and what leaves here was verified as a stranger would.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { Challenge, SignedAdmission, SignedChallengeReceipt } from "./challenges.js" */
/** @import { ChallengeStatus } from "./complaints.js" */
/** @import { SignedRoster } from "./delta.js" */
/** @import { Blame } from "./evidence/blame.js" */
/** @import { Finding } from "./evidence/proof.js" */
/** @import { CustodyAnswer, Question } from "./evidence/stage_views.js" */
/** @import { EpochStatements } from "./log_pages.js" */
/** @import { Roster } from "./statements.js" */
import { equal, zeros } from "./bytes.js";
import { CHALLENGE, CHALLENGE_RECEIPT, hashChallenge } from "./challenges.js";
import { NoiseError } from "./errors.js";
import { UNRESPONSIVE, assignBlame, questionsOf } from "./evidence/blame.js";
import { makeProof, verifyProof } from "./evidence/proof.js";
import { Rosters } from "./evidence/rosters.js";
import { CUSTODY_ANSWER, StageCustody } from "./evidence/stage_views.js";
import { parseActor, parseSeq } from "./identifiers.js";
import { placeMailbox } from "./placement.js";
import { wayOf } from "./stages.js";
import { EPOCH_HEAD, openRoster } from "./statements.js";

/** A challenge that is under way, and the sequencer's receipt for it. */
export class OpenChallenge {
  /**
   * @param {Challenge} challenge
   * @param {SignedChallengeReceipt} receipt
   */
  constructor(challenge, receipt) {
    this.challenge = challenge;
    this.receipt = receipt;
  }

  get key() {
    return hashChallenge(CHALLENGE.encode(this.challenge));
  }
}

/** About one proof that convicts the provider `origin`. Made by `Inquiry.open`. */
export class Inquiry {
  /** @type {CustodyAnswer[]} */
  #answers = [];
  /** @type {Bytes[]} */
  #admitted = [];
  #origin;
  #proof;
  #rosters;
  #opened;

  /**
   * Only of what is verified: see `Inquiry.open`.
   * @param {Bytes} origin
   * @param {Bytes} proof
   * @param {readonly SignedRoster[]} rosters
   * @param {readonly Roster[]} opened the same, decoded
   * @param {readonly Question[]} questions
   */
  constructor(origin, proof, rosters, opened, questions) {
    this.#origin = origin;
    this.#proof = proof;
    this.#rosters = rosters;
    this.#opened = opened;
    this.questions = questions;
  }

  /**
   * `rosters`: all that the provider shows, in order.
   *
   * Throws DecodeError or NotProven when the proof convicts nobody, SignatureError for rosters of another.
   * @param {Bytes} origin
   * @param {Bytes} proof
   * @param {readonly SignedRoster[]} rosters
   */
  static async open(origin, proof, rosters) {
    /** @type {Roster[]} */
    const opened = [];
    for (const signed of rosters) opened.push(await openRoster(signed, origin));
    return new Inquiry(origin, proof, [...rosters], opened, await questionsOf(proof, origin));
  }

  /** Whom to ask, in the order of the ways: everybody who had to do with a message and its mailbox. */
  actors() {
    const asked = this.questions.flatMap((one) => wayOf(this.#rosterOf(one), one.seq, one.mailbox));
    return [...new Set(asked.map((actor) => actor.toString()))];
  }

  /** Of which the public statements help: an outbox's head need not be shown by itself. */
  epochs() {
    const epochs = new Set(this.questions.map((question) => parseSeq(question.seq)[0]));
    return [...epochs].sort((a, b) => (a < b ? -1 : 1));
  }

  /**
   * What the actors signed in one of the epochs, as the log shows it to everybody.
   * @param {EpochStatements} statements
   */
  takeStatements(statements) {
    for (const question of this.questions) {
      const outbox = placeMailbox(this.#rosterOf(question), question.mailbox).encode();
      const heads = statements.heads.filter((head) => equal(EPOCH_HEAD.decode(head.body).actor, outbox));
      for (const head of heads) {
        this.#answers.push({ rosters: [], question, stages: [new StageCustody(outbox, { head })] });
      }
    }
  }

  /** @param {readonly CustodyAnswer[]} answers */
  takeAnswers(answers) {
    this.#answers.push(...answers);
  }

  /**
   * One that convicts nobody is nothing.
   * @param {SignedAdmission} admission
   */
  async takeAdmission(admission) {
    const proof = await this.#prove({ kind: "Admission", body: { proof: this.#proof, admission } });
    if (proof !== null) this.#admitted.push(proof);
  }

  /** Who lied, as far as the answers go: by custody, else by an actor's own admission. */
  async judge() {
    const rosters = { rosters: [...this.#rosters], question: { seq: zeros(16), mailbox: zeros(32) }, stages: [] };
    const blame = await assignBlame(this.#proof, [...this.#answers, rosters], this.#origin);
    if (blame.kind === UNRESPONSIVE && this.#admitted.length) return await this.#blameBy(this.#admitted[0], blame);
    return blame;
  }

  /**
   * What an unresponsive actor is to be asked for everybody to see. Throws NoiseError for who was not asked.
   * @param {Blame} blame
   * @returns {Challenge}
   */
  challenge(blame) {
    const { question } = blame;
    if (question !== null) {
      const roster = this.#rosterOf(question);
      const actor = wayOf(roster, question.seq, question.mailbox).find((one) => one.toString() === blame.actor);
      if (actor !== undefined) {
        const { incarnation } = roster.entry(actor);
        const { seq, mailbox } = question;
        return { origin: this.#origin, actor: actor.encode(), incarnation, epoch: blame.epoch, seq, mailbox };
      }
    }
    throw new NoiseError(`${blame.actor} had nothing to do with it`, "not-asked");
  }

  /**
   * Throws NoiseError for a receipt that promises nothing.
   * @param {Challenge} challenge
   * @param {SignedChallengeReceipt} receipt
   */
  async checkReceipt(challenge, receipt) {
    const opened = new OpenChallenge(challenge, receipt);
    const body = CHALLENGE_RECEIPT.decode(receipt.body);
    if (!equal(body.challenge_hash, opened.key)) {
      throw new NoiseError("the receipt is for another challenge", "bad-answer");
    }
    const rosters = await Rosters.open(this.#origin, this.#rosters);
    await rosters.slotKey([receipt], "challenge", parseActor(body.actor), body.incarnation, body.by_epoch);
    return opened;
  }

  /**
   * An answer that came is taken. Else who is to blame, when the challenge of `blame`'s actor was suppressed, or not
   * answered in time; null: there is still time.
   * @param {OpenChallenge} opened
   * @param {ChallengeStatus} status
   * @param {Blame} blame
   */
  async takeStatus(opened, status, blame) {
    if (status.answer.length) {
      this.takeAnswers([CUSTODY_ANSWER.decode(status.answer)]);
      return null;
    }
    const { receipt } = opened;
    const { log, asked, challenge, state, path, other } = status;
    const proof = await this.#prove(
      asked === null
        ? { kind: "SuppressedChallenge", body: { receipt, log, path, other } }
        : { kind: "UnansweredChallenge", body: { log, asked, challenge, state, path } },
    );
    return proof && (await this.#blameBy(proof, blame));
  }

  /**
   * Whom a proof names, on the way on which `blame` found somebody silent.
   * @param {Bytes} proof
   * @param {Blame} blame
   * @returns {Promise<Blame>}
   */
  async #blameBy(proof, blame) {
    const { accused: actor, kind, epoch, is_suspicion } = await verifyProof(proof, [this.#origin]);
    return { actor, kind, epoch, is_proven: !is_suspicion, way: blame.way, proof, question: null };
  }

  /** @param {Finding} finding */
  async #prove(finding) {
    try {
      return await makeProof(this.#origin, this.#rosters, finding);
    } catch (error) {
      if (error instanceof NoiseError) return null;
      throw error;
    }
  }

  /**
   * The roster in force. Only a guess whom to ask: what they answer names its own.
   * @param {Question} question
   */
  #rosterOf(question) {
    const [epoch] = parseSeq(question.seq);
    const roster = this.#opened.findLast((one) => one.valid_from_epoch <= epoch);
    if (roster === undefined) {
      throw new NoiseError(`no roster is shown that was in force in epoch ${epoch}`, "no-roster");
    }
    return roster;
  }
}
