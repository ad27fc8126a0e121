// BullMQ on Node, with ioredis: https://docs.bullmq.io. Speaks as bench/engines/face.py does:
//
//     node bullmq.mjs about
//     node bullmq.mjs enqueue --url URL --jobs N [--bulk]
//     node bullmq.mjs work --url URL --jobs N --concurrency C [--deadline SECONDS]

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Queue, Worker } from 'bullmq';

const QUEUE = 'rules-run'; // a colon is not allowed in its names
const SETTLE = 0.5; // as SETTLE in face.py: seconds
const WARM_UP = 10; // as WARM_UP in face.py
const BULK = 500; // as BULK in face.py

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: 'string', default: '' },
    jobs: { type: 'string', default: '0' },
    bulk: { type: 'boolean', default: false },
    concurrency: { type: 'string', default: '10' },
    deadline: { type: 'string', default: '120' },
  },
});
const jobs = Number(options.jobs);

function connection() {
  const url = new URL(options.url);
  // maxRetriesPerRequest null is what BullMQ asks of a worker's connection.
  return { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
}

function payload(number) {
  return {
    ruleId: `r-${String(number).padStart(8, '0')}-7f3a-4c1e-9b2d-5e8f60a1c3d4`,
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

async function enqueue() {
  const queue = new Queue(QUEUE, { connection: connection() });
  await queue.add('count', payload(0)); // connects, and loads scripts; not measured
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
  let left = jobs;
  const warm = jobs - Math.floor(jobs / WARM_UP);
  let began = null;
  let ended = null;
  let allRan = null;
  const done = new Promise((resolve) => { allRan = resolve; });
  async function count(job) {
    const number = Number(job.data.ruleId.slice(2, 10));
    counts[number] += 1;
    if (counts[number] === 1) {
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
  return {
    measured: warm - left,
    seconds: ended[0] - began[0],
    cpu_seconds: ended[1] - began[1],
    runs: counts.reduce((sum, one) => sum + one, 0),
    missing: left,
    twice: counts.filter((one) => one > 1).length,
  };
}

const verbs = { about, enqueue, work };
console.log(JSON.stringify(await verbs[positionals[0]]()));
process.exit(0);
