-- Puts a schedule's record in the place of the one it was made from and adds the jobs of its ticks, in one step.
--
-- KEYS[1..3] -> lanes high, normal, low    KEYS[4] -> schedules (sorted set)   KEYS[5] -> records (hash)
-- KEYS[6] -> meta (hash)   KEYS[7] -> wake (stream)   KEYS[8] -> delayed (sorted set)
-- KEYS[9..14] -> limits: held, parked, jobs, due, rates, places   KEYS[15..] -> uniqueness keys, referred to by index
-- ARGV[1] -> schedule id   ARGV[2] -> revision it must have ('' = it must not be there)
-- ARGV[3] -> new record ('' = it goes)     ARGV[4] -> its due ms ('+inf' = none)
-- ARGV[5] -> not before, ms   ARGV[6], ARGV[7] -> record and due where a uniqueness key is taken
-- ARGV[8] -> ms an until-done key is held at most   ARGV[9] -> number of jobs
-- then per job: lane, index of uniqueness key (0 = none), job id, number of fields, fields...
-- Returns { one string per job: '' when it was added, else the id of the job that has its key },
--   or nothing where nothing was changed: another revision, or not yet.
--@include lib/delay
--@include lib/limits
local id, record, due = ARGV[1], ARGV[3], ARGV[4]
local old = redis.call('HGET', KEYS[5], id)
local revision = old and string.match(old, '^%S+') or ''
if revision ~= ARGV[2] or server_ms() < tonumber(ARGV[5]) then return false end

-- Jobs first: memory is refused here or not at all.
local L = limits_of(9, { KEYS[1], KEYS[2], KEYS[3] }, KEYS[6], KEYS[7], KEYS[8])
local answers, added, at = {}, 0, 10
for n = 1, tonumber(ARGV[9]) do
  local lane, unique, job_id, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3])
  local taken = unique > 0 and redis.call('GET', KEYS[unique])
  if taken then
    answers[n], record, due = taken, ARGV[6], ARGV[7]
  else
    make_ready(L, lane, { unpack(ARGV, at + 4, at + 3 + count) })
    if unique > 0 then redis.call('SET', KEYS[unique], job_id, 'PX', ARGV[8]) end
    answers[n] = ''
    added = added + 1
  end
  at = at + 4 + count
end
if added > 0 then redis.call('HINCRBY', KEYS[6], 'enqueued', added) end

if record == '' then
  redis.call('HDEL', KEYS[5], id)
  redis.call('ZREM', KEYS[4], id)
  return answers
end
local earliest = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
redis.call('HSET', KEYS[5], id, record)
redis.call('ZADD', KEYS[4], due, id)
if due ~= '+inf' and (#earliest == 0 or tonumber(due) < tonumber(earliest[2])) then
  redis.call('XADD', KEYS[7], 'MAXLEN', 1, '*', 'tick', due)
end
return answers
