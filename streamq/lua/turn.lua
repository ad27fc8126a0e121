-- One turn of a worker: apply what finished, promote what is due, take what is free.
--
-- KEYS[1..3] -> lanes high, normal, low
-- KEYS[4] -> delayed (sorted set)   KEYS[5] -> delayed envelopes (hash)
-- KEYS[6] -> meta (hash)            KEYS[7] -> done (stream)     KEYS[8] -> dead (stream)
-- KEYS[9] -> workers (hash)         KEYS[10] -> turns (hash)     KEYS[11] -> wake (stream)
-- KEYS[12..] -> uniqueness keys, referred to by index
-- ARGV[1] -> worker       ARGV[2] -> sequence     ARGV[3] -> free slots
-- ARGV[4] -> promote at most   ARGV[5] -> completed records kept at most   ARGV[6] -> 1 = register the worker
-- ARGV[7] -> number of finishes, then per finish:
--   'd' lane entry job_id attempt duration_ms unique_index
--   'a' lane entry job_id delay_ms counts(1|0) unique_index unique_ms n fields...
--   'b' lane entry job_id unique_index n fields...
--   'r' lane entry n fields...
-- Returns { { {lane, entries}... }, refused lease keys, paused (1|0), ms to the next due (-1 = none), now ms }
--@include lib/delay
--@include lib/finish
--@include lib/promote
--@include lib/take
local lanes = { KEYS[1], KEYS[2], KEYS[3] }
local worker, sequence = ARGV[1], tonumber(ARGV[2])
local now = server_ms()
local refused, counts = {}, {}

local function count(what) counts[what] = (counts[what] or 0) + 1 end

local lane_names = { 'high/', 'normal/', 'low/' }
local function refuse(lane, entry) refused[#refused + 1] = lane_names[lane] .. entry end

local finish = {}

-- Done: acknowledge, delete, record. Frees memory, so it must pass when memory is short: XACK first.
function finish.d(at)
  local lane, entry = tonumber(ARGV[at]), ARGV[at + 1]
  local stream = lanes[lane]
  if redis.call('XACK', stream, 'workers', entry) == 1 then
    redis.call('XDEL', stream, entry)
    redis.call('XADD', KEYS[7], 'MAXLEN', ARGV[5], '*', 'id', ARGV[at + 2], 'attempt', ARGV[at + 3], 'ms', ARGV[at + 4])
    local unique = tonumber(ARGV[at + 5])
    if unique > 0 then give_back(KEYS[unique], ARGV[at + 2]) end
    count('done')
  else
    refuse(lane, entry)
  end
  return at + 6
end

-- Again: a retry or a snooze.
function finish.a(at)
  local lane, entry, n = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 7])
  local unique = tonumber(ARGV[at + 5])
  if held(lanes[lane], entry, worker) then
    delay(KEYS[4], KEYS[5], KEYS[11], now + tonumber(ARGV[at + 3]), ARGV[at + 2], lane, slice(at + 8, n))
    drop(lanes[lane], entry)
    if unique > 0 then keep_longer(KEYS[unique], ARGV[at + 2], ARGV[at + 6]) end
    count(ARGV[at + 4] == '1' and 'retried' or 'snoozed')
  else
    refuse(lane, entry)
  end
  return at + 8 + n
end

-- Bury: to the dead letters.
function finish.b(at)
  local lane, entry, n = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 4])
  local stream = lanes[lane]
  if held(stream, entry, worker) then
    redis.call('XADD', KEYS[8], '*', 'died', string.format('%d', now), unpack(slice(at + 5, n)))
    drop(stream, entry)
    local unique = tonumber(ARGV[at + 3])
    if unique > 0 then give_back(KEYS[unique], ARGV[at + 2]) end
    count('dead')
  else
    refuse(lane, entry)
  end
  return at + 5 + n
end

-- Release: ready again under a new id, nothing counted.
function finish.r(at)
  local lane, entry, n = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2])
  local stream = lanes[lane]
  if held(stream, entry, worker) then
    redis.call('XADD', stream, '*', unpack(slice(at + 3, n)))
    drop(stream, entry)
    count('released')
  else
    refuse(lane, entry)
  end
  return at + 3 + n
end

local n = tonumber(ARGV[7])
if n > 0 then
  local last = redis.call('HGET', KEYS[10], worker)
  local seen = last and string.match(last, '^(%d+)|')
  if seen == ARGV[2] then
    for key in string.gmatch(string.sub(last, #seen + 2), '[^,]+') do refused[#refused + 1] = key end
  else
    local at = 8
    for _ = 1, n do at = finish[ARGV[at]](at + 1) end
    redis.call('HSET', KEYS[10], worker, ARGV[2] .. '|' .. table.concat(refused, ','))
    for what, many in pairs(counts) do redis.call('HINCRBY', KEYS[6], what, many) end
  end
end

promote(KEYS[4], KEYS[5], lanes, now, ARGV[4])

local paused = redis.call('HGET', KEYS[6], 'paused') == '1'
local free, got = tonumber(ARGV[3]), {}
if free > 0 and not paused then got = take(lanes, worker, free, sequence) end
if ARGV[6] == '1' then redis.call('HSETNX', KEYS[9], worker, 0) end

local next_due = -1
local earliest = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
if #earliest > 0 then next_due = math.max(0, tonumber(earliest[2]) - now) end
return { got, refused, paused and 1 or 0, next_due, now }
