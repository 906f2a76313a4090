/**
 * A reading over the transport that gives first: when the one that began is silent, others read the same reply beside
 * it, and the first one to bring anything stays.
 *
 * A proxy that buffers keeps all of an answer back until the reply has ended, so silence alone says little about it.
 * To read over the next transport at once costs a request; to wait until the first is certainly lost costs seconds.
 *
 * Invariants:
 * - What comes of the reply comes of one reading, that of the winner. The others bring nothing but the reply's id.
 * - From the win on only the winner is open.
 * - The request that starts the reply has the same key over each transport, so that it starts one reply.
 *
 * @import { Reason } from './auto.js'
 * @import { Brought, Environment, Outcome } from './reading.js'
 * @import { Target, TransportName } from './transports/transport.js'
 */
import { bringsAtOnce, othersThan, RACE_AFTER_MS, RACE_STAGGER_MS } from './auto.js';
import { readOnce } from './reading.js';

/**
 * Read a reply once, over the transport that gives first.
 *
 * @param {Target} target
 * @param {TransportName} first the transport that begins
 * @param {Environment} environment
 * @param {(brought: Brought) => void} emit takes what comes, in order; it may abort
 * @param {AbortSignal} signal ends all readings
 * @param {(to: TransportName, reason: Reason) => void} change called before anything comes over another transport than
 *   the first, if that one gives first
 * @returns {Promise<Outcome>} how the winner's reading ended. Where no transport gave anything: the service's refusal,
 *   else how the first one's ended
 */
export function readFirst(target, first, environment, emit, signal, change) {
  return new Promise((resolve) => {
    /** The readings that are open. @type {Map<TransportName, AbortController>} */
    const open = new Map();
    const waiting = bringsAtOnce(first, target.reply === null) ? othersThan(first) : [];
    /** The outcomes of the readings that are over. @type {Map<TransportName, Outcome>} */
    const over = new Map();
    /** @type {TransportName | null} */
    let winner = null;
    let { reply } = target;
    let answered = false;
    let races = false;
    let disarm = () => {};

    const abortAll = () => {
      disarm();
      waiting.length = 0;
      for (const reading of open.values()) reading.abort();
    };
    signal.addEventListener('abort', abortAll);
    /** @param {Outcome} outcome */
    const finish = (outcome) => {
      abortAll();
      signal.removeEventListener('abort', abortAll);
      resolve(outcome);
    };
    /** @param {TransportName} name */
    const win = (name) => {
      winner = name;
      disarm();
      for (const [other, reading] of open) if (other !== name) reading.abort();
      if (name !== first) change(name, answered ? 'first-byte' : 'headers');
    };
    /** @param {TransportName} name @param {Brought} brought */
    const receive = (name, brought) => {
      if (winner !== null && winner !== name) return;
      if (brought.type === 'answered' && name === first) answered = true;
      if (brought.type === 'gives') win(name);
      if (brought.type === 'started') {
        if (brought.reply === reply) return;
        ({ reply } = brought);
      }
      emit(brought);
    };
    /** @param {TransportName} name @returns {Promise<void>} */
    const read = async (name) => {
      const reading = new AbortController();
      open.set(name, reading);
      const onBrought = (/** @type {Brought} */ brought) => receive(name, brought);
      const transport = environment.transports[name];
      const outcome = await readOnce({ ...target, reply }, transport, true, environment, onBrought, reading.signal);
      open.delete(name);
      over.set(name, outcome);
      if (winner === name || (winner === null && (!races || decides(outcome)))) finish(outcome);
      else if (winner === null) readNext();
    };
    /** Begin to read over the next transport, or finish when none is left that might give. */
    const readNext = () => {
      disarm();
      races = true;
      const name = waiting.shift();
      if (name) {
        if (waiting.length) disarm = environment.after(readNext, RACE_STAGGER_MS);
        read(name);
      } else if (open.size === 0) {
        const refused = [...over.values()].find(({ type }) => type === 'problem');
        finish(refused ?? over.get(first) ?? { type: 'broke', retryMs: 0 });
      }
    };
    /** Begin the race. @param {number} due the time at which the timer should have fired */
    const start = (due) => {
      // A busy page runs a timer that is overdue before it hears what has come meanwhile.
      const late = environment.now() - due > RACE_STAGGER_MS;
      if (!late) return readNext();
      const again = environment.now() + RACE_STAGGER_MS;
      disarm = environment.after(() => start(again), RACE_STAGGER_MS);
    };
    const due = environment.now() + RACE_AFTER_MS;
    if (waiting.length) disarm = environment.after(() => start(due), RACE_AFTER_MS);
    read(first);
  });
}

/** Return whether an outcome is that of the reply, whatever the other readings may bring. @param {Outcome} outcome */
function decides(outcome) {
  return outcome.type === 'woken' || (outcome.type === 'problem' && !outcome.problem.retried);
}
