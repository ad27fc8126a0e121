-- Adds jobs, all or none, and remembers the answer so that repeating the call changes nothing.
--
-- KEYS[1] -> remembers this call's answer
-- KEYS[2..4] -> lanes high, normal, low
-- KEYS[5] -> delayed (sorted set)   KEYS[6] -> delayed envelopes (hash)
-- KEYS[7] -> meta (hash)            KEYS[8] -> wake (stream)   KEYS[9] -> cancels (sorted set)
-- KEYS[10..15] -> limits: held, parked, jobs, due, rates, places
-- KEYS[16..] -> id and uniqueness keys, referred to by index
-- ARGV[1] -> ms the call is remembered      ARGV[2] -> ms a caller-made id is remembered
-- ARGV[3] -> ms an until-done key is held at most, beyond the delay
-- ARGV[4] -> partitions that the producer knows of (0 = it does not say)   ARGV[5] -> number of jobs
-- then per job: lane (1..3), delay ms, due ms (0 = by delay), index of id key (0 = none),
--   index of uniqueness key (0 = none), its ms (0 = until done; below 0 = until done, and what waits is replaced,
--   at the latest 1 ms less than so many after it was first enqueued, -1 = at the latest never), job id,
--   number of fields, fields...
-- Returns one string per job: '' when it was added, else '=' and the id of the job that was there first, or '~' and
--   the id of the job that waits and was replaced. Or the number of partitions, where there are more than the
--   producer knows of: nothing was done.
--
-- Jobs of one lane that start at once and have no id, key or limit of their own, as nearly all, come in a shorter form:
-- KEYS[1] -> as above   KEYS[2] -> their lane   KEYS[3] -> meta (hash)
-- ARGV[1] -> '+'   ARGV[2] -> ms the call is remembered   ARGV[3] -> partitions, as above   ARGV[4] -> number of jobs
-- then per job: number of fields, fields...
-- Returns nothing when all were added, or the number of partitions.

-- The number of partitions where there are more than `known`.
local function more_partitions(meta, known)
  if known == 0 then return nil end
  local partitions = 1
  if redis.call('HEXISTS', meta, 'partitions') == 1 then
    partitions = redis.call('HINCRBY', meta, 'partitions', 0) -- a producer may not read what is in hashes
  end
  if partitions > known then return partitions end
  if partitions < known then redis.call('HSET', meta, 'partitions', known) end -- what it knew was lost
end

if ARGV[1] == '+' then
  if not redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[2]) then return false end
  local more = more_partitions(KEYS[3], tonumber(ARGV[3]))
  if more then
    redis.call('DEL', KEYS[1])
    return more
  end
  local first = 5
  for _ = 1, ARGV[4] do
    local last = first + ARGV[first]
    local added = redis.pcall('XADD', KEYS[2], '*', unpack(ARGV, first + 1, last))
    if type(added) == 'table' then -- no stream, or no memory: only the first can fail
      redis.call('DEL', KEYS[1])
      return added
    end
    first = last + 1
  end
  redis.call('HINCRBY', KEYS[3], 'enqueued', ARGV[4])
  return false
end

--@include lib/cancel
--@include lib/delay
--@include lib/limits
local seen = redis.call('GET', KEYS[1])
if seen then return cjson.decode(seen) end
local more = more_partitions(KEYS[7], tonumber(ARGV[4]))
if more then return more end

local now = server_ms()
local L = limits_of(10, { KEYS[2], KEYS[3], KEYS[4] }, KEYS[7], KEYS[8], KEYS[5])

-- Takes the job out that waits: its fields (and an entry id where it has none), or nil and whether it may be running.
local function take_waiting(job_id)
  local body = redis.call('HGET', KEYS[6], job_id)
  if body then
    local fields = cjson.decode(body)
    table.remove(fields, 1)
    redis.call('ZREM', KEYS[5], job_id)
    redis.call('HDEL', KEYS[6], job_id)
    return fields
  end
  local lane, fields, place = limits().parked_job(L, job_id)
  if lane then
    limits().unpark(L, job_id, place)
    return fields
  end
  local at = redis.call('HGET', L.places, job_id)
  if not at then return nil, true end -- of another mode: where it lies nobody knows
  local entry
  lane, entry = string.match(at, '^(%d)/(.*)$')
  lane = tonumber(lane)
  local held = redis.pcall('XPENDING', L.lanes[lane], 'workers', entry, entry, 1)
  if not held.err and #held > 0 then return nil, true end
  local found = redis.call('XRANGE', L.lanes[lane], entry, entry)[1]
  redis.call('HDEL', L.places, job_id)
  if not found then return nil, false end -- somebody has deleted it
  redis.call('XDEL', L.lanes[lane], entry)
  limits().set_field(found[2], 'enqueued', string.match(entry, '^%d+'), true)
  local t = terms(found[2])
  if t and t.group then limits().let_go(L, t.group, lane, entry) end
  return found[2]
end

local function add(lane, due, job_id, fields)
  if due > now then
    limits().set_field(fields, 'enqueued', string.format('%d', now), true)
    delay(KEYS[5], KEYS[6], KEYS[8], due, job_id, lane, fields)
  else
    make_ready(L, lane, fields)
  end
end

local answers, created, at = {}, 0, 6
for n = 1, tonumber(ARGV[5]) do
  local lane = tonumber(ARGV[at])
  local due = tonumber(ARGV[at + 2])
  if due == 0 then due = now + tonumber(ARGV[at + 1]) end
  local id_key, unique_key = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local unique_ms, job_id = tonumber(ARGV[at + 5]), ARGV[at + 6]
  local count = tonumber(ARGV[at + 7])
  local first = at + 8
  at = first + count

  local taken
  if id_key > 0 then taken = redis.call('GET', KEYS[id_key]) end
  local holder, waiting, running
  if not taken and unique_key > 0 then
    taken = redis.call('GET', KEYS[unique_key])
    if taken and unique_ms < 0 then
      waiting, running = take_waiting(taken)
      if waiting or running then holder = taken end
      taken = nil
    end
  end
  local fields = {}
  for i = 1, count do fields[i] = ARGV[first + i - 1] end
  local until_done = tonumber(ARGV[3]) + math.max(0, due - now)
  if taken then
    answers[n] = '=' .. taken
  elseif waiting then
    -- The job that waits stays who it is: its id, when it was first enqueued, and whose end it waits for.
    limits().set_field(fields, 'id', holder)
    limits().set_field(fields, 'enqueued', field(waiting, 'enqueued') or string.format('%d', now))
    if field(waiting, 'behind') then limits().set_field(fields, 'behind', field(waiting, 'behind')) end
    if unique_ms < -1 then
      due = math.min(due, (tonumber(field(waiting, 'enqueued')) or now) - unique_ms - 1)
    end
    add(lane, due, holder, fields)
    redis.call('SET', KEYS[unique_key], holder, 'PX', string.format('%d', until_done))
    redis.call('ZREM', KEYS[9], holder)
    answers[n] = '~' .. holder
  else
    if holder then
      -- It runs, and is left alone: this one starts when it has ended; should it be lost, when its key would have been.
      local group = 'u' .. string.match(KEYS[unique_key], '^{.-}:unique:(.*)$')
      limits().set_field(fields, 'behind', holder)
      redis.call('ZADD', L.held, 0, group .. '\nxid/' .. holder)
      limits().look_at(L, group, now + until_done)
    end
    add(lane, due, job_id, fields)
    if id_key > 0 then
      redis.call('SET', KEYS[id_key], job_id, 'PX', ARGV[2])
      redis.call('ZREM', KEYS[9], job_id) -- what a person cancelled was an older job of that id
    end
    if unique_key > 0 then
      if unique_ms <= 0 then unique_ms = until_done end
      redis.call('SET', KEYS[unique_key], job_id, 'PX', string.format('%d', unique_ms))
    end
    answers[n] = ''
    created = created + 1
  end
end
redis.call('SET', KEYS[1], cjson.encode(answers), 'PX', ARGV[1])
if created > 0 then redis.call('HINCRBY', KEYS[7], 'enqueued', created) end
return answers
