// BullMQ on Node, with ioredis: https://docs.bullmq.io. Speaks as bench/engines/face.py does:
//
//     node bullmq.mjs about
//     node bullmq.mjs enqueue --url URL --jobs N [--bulk | --pace PER_SECOND | --first S --over S] [--fail-once]
//     node bullmq.mjs work --url URL --jobs N --concurrency C [--deadline SECONDS]
//         [--counts FILE] [--enough N] [--timed] [--answer FILE] [--fail-once] [--slow S [--slow-first N] --log FILE]

import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Queue, Worker } from 'bullmq';

const QUEUE = 'rules-run'; // a colon is not allowed in its names
const SETTLE = 0.5; // as SETTLE in face.py: seconds
const WARM_UP = 10; // as WARM_UP in face.py
const BULK = 500; // as BULK in face.py
const RETRY_DELAY = 1.0; // as in face.py, and so are these
const PACE_AFTER = 3.0;
const TELL_EVERY = 0.02;
const AT_ONCE = 50;

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: 'string', default: '' },
    jobs: { type: 'string', default: '0' },
    bulk: { type: 'boolean', default: false },
    concurrency: { type: 'string', default: '10' },
    deadline: { type: 'string', default: '120' },
    pace: { type: 'string' },
    first: { type: 'string', default: '0' },
    over: { type: 'string' },
    enough: { type: 'string' },
    counts: { type: 'string' },
    timed: { type: 'boolean', default: false },
    answer: { type: 'string' },
    'fail-once': { type: 'boolean', default: false },
    slow: { type: 'string', default: '0' },
    'slow-first': { type: 'string' },
    log: { type: 'string' },
  },
});
const jobs = Number(options.jobs);

function connection() {
  const url = new URL(options.url);
  // maxRetriesPerRequest null is what BullMQ asks of a worker's connection.
  return { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
}

// Milliseconds since the epoch, finer than Date.now.
const now = () => performance.timeOrigin + performance.now();

// `stamp`: milliseconds since the epoch, which a timed worker reads out of the rule's id.
function payload(number, stamp) {
  const rest = stamp === undefined
    ? '7f3a-4c1e-9b2d-5e8f60a1c3d4'
    : `${BigInt(Math.round(stamp * 1e6)).toString(16).padStart(16, '0')}-8f60a1c3d4`;
  return {
    ruleId: `r-${String(number).padStart(8, '0')}-${rest}`,
    trigger: 'schedule',
    requestedAt: '2026-11-24T07:15:42.381Z',
    debug: false,
  };
}

// Seconds, and CPU seconds of this process with all its threads.
function watch() {
  const cpu = process.cpuUsage();
  return [performance.now() / 1000, (cpu.user + cpu.system) / 1e6];
}

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function about() {
  const version = (name) =>
    JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url))).version;
  return {
    versions: { bullmq: version('bullmq'), ioredis: version('ioredis'), node: process.versions.node },
    settings: {
      bulk: 'Queue.addBulk',
      worker: 'Worker({ concurrency })',
      'removeOnComplete, locks, events': 'by default (completed jobs are kept)',
    },
  };
}

async function paced(queue) {
  await sleep(PACE_AFTER);
  const began = now();
  for (let number = 1; number < jobs; number += 1) {
    await sleep(Math.max(0, began + (number * 1000) / Number(options.pace) - now()) / 1000);
    await queue.add('count', payload(number, now()));
  }
  return { seconds: (now() - began) / 1000, cpu_seconds: 0, measured: jobs };
}

async function delayed(queue) {
  const began = now();
  const put = (number) => {
    const due = began + 1000 * (Number(options.first) + (number * Number(options.over)) / jobs);
    return queue.add('count', payload(number, due), { delay: Math.max(0, Math.round(due - now())) });
  };
  for (let start = 0; start < jobs; start += AT_ONCE) {
    const many = [];
    for (let number = start; number < Math.min(jobs, start + AT_ONCE); number += 1) {
      many.push(put(number));
    }
    await Promise.all(many);
  }
  const spent = (now() - began) / 1000;
  if (spent > Number(options.first)) {
    throw new Error(`putting ${jobs} delayed jobs in took ${spent.toFixed(1)} s, the first was due before that`);
  }
  return { seconds: spent, cpu_seconds: 0, measured: jobs };
}

async function enqueue() {
  const again = { attempts: 3, backoff: { type: 'fixed', delay: RETRY_DELAY * 1000 } };
  const queue = new Queue(QUEUE, {
    connection: connection(), defaultJobOptions: options['fail-once'] ? again : undefined,
  });
  if (options.over) {
    return delayed(queue);
  }
  await queue.add('count', options.pace ? payload(0, now()) : payload(0)); // connects, loads scripts; not measured
  if (options.pace) {
    return paced(queue);
  }
  const began = watch();
  if (options.bulk) {
    for (let start = 1; start < jobs; start += BULK) {
      const many = [];
      for (let number = start; number < Math.min(jobs, start + BULK); number += 1) {
        many.push({ name: 'count', data: payload(number) });
      }
      await queue.addBulk(many);
    }
  } else {
    for (let number = 1; number < jobs; number += 1) {
      await queue.add('count', payload(number));
    }
  }
  const ended = watch();
  return { seconds: ended[0] - began[0], cpu_seconds: ended[1] - began[1], measured: jobs - 1 };
}

async function work() {
  const counts = new Uint32Array(jobs);
  let left = Number(options.enough ?? jobs);
  const warm = left - Math.floor(left / WARM_UP);
  const late = [];
  const failed = new Set();
  let first = null;
  let runs = 0;
  let began = null;
  let ended = null;
  let allRan = null;
  const done = new Promise((resolve) => { allRan = resolve; });
  function log(what, id) {
    if (options.log) {
      appendFileSync(options.log, `${what} ${id}\n`);
    }
  }
  if (options.counts) {
    setInterval(() => writeFileSync(options.counts, String(runs)), TELL_EVERY * 1000);
  }
  async function count(job) {
    const id = job.data.ruleId;
    if (Number(options.slow)) {
      log('began', id);
      const slow = Number(id.slice(2, 10)) < Number(options['slow-first'] ?? jobs);
      await sleep(slow ? Number(options.slow) : 0);
    }
    if (options['fail-once'] && !failed.has(id)) {
      failed.add(id);
      first ??= performance.now() / 1000;
      throw new Error('failed once');
    }
    const number = Number(id.slice(2, 10));
    counts[number] += 1;
    runs += 1;
    log('ended', id);
    if (counts[number] === 1) {
      if (options.timed && left <= warm) {
        late.push(now() - Number(BigInt(`0x${id.slice(11, 27)}`)) / 1e6);
      }
      left -= 1;
      if (left === warm) {
        began = watch();
      }
      if (left === 0) {
        ended = watch();
        allRan();
      }
    }
  }
  const worker = new Worker(QUEUE, count, { connection: connection(), concurrency: Number(options.concurrency) });
  worker.on('error', (error) => console.error(error.message));
  await Promise.race([done, sleep(Number(options.deadline))]);
  if (left === 0) {
    await sleep(SETTLE);
  }
  ended ??= watch();
  began ??= ended;
  late.sort((one, other) => one - other);
  const times = late.length === 0 ? {} : {
    p50_ms: late[Math.floor(late.length / 2)],
    p99_ms: late[Math.floor(late.length * 0.99)],
    early: late.filter((one) => one < 0).length,
  };
  return {
    ...times,
    all_seconds: first === null ? 0 : ended[0] - first,
    measured: warm - Math.max(0, left), // it may have run more than enough
    seconds: ended[0] - began[0],
    cpu_seconds: ended[1] - began[1],
    runs: counts.reduce((sum, one) => sum + one, 0),
    missing: Math.max(0, left),
    twice: counts.filter((one) => one > 1).length,
  };
}

const verbs = { about, enqueue, work };
const said = JSON.stringify(await verbs[positionals[0]]());
if (options.answer) {
  writeFileSync(`${options.answer}.part`, said);
  renameSync(`${options.answer}.part`, options.answer);
}
console.log(said);
process.exit(0);
