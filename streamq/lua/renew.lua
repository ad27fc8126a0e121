#!lua flags=allow-oom
-- Renews all leases a worker holds and beats its heart, in one call.
--
-- KEYS[1..3] -> lanes high, normal, low    KEYS[4] -> workers (hash)    KEYS[5] -> meta (hash)
-- KEYS[6] -> facts (hash)    KEYS[7] -> orders (hash)    KEYS[8] -> schedules (sorted set)
-- ARGV[1] -> worker   ARGV[2] -> 1 = count what the server thinks is in hand
-- ARGV[3] -> what it tells of itself, JSON
-- ARGV[4] -> number of leases, then per lease: lane, entry id
-- Allowed while memory is short: a worker whose heart cannot beat would lose what it works on.
-- Returns { lost lease keys, paused (1|0), { worker, beat, ... }, pending (-1 = not asked),
--   1 = something is cancelled, jobs at once asked for (0 = not), orders ('' = none),
--   schedules, ms to the next tick (-1 = none), partitions }
--@include lib/whole
--@include lib/delay
--@include lib/ticks
local worker = ARGV[1]
local by_lane = { {}, {}, {} }
local at = 5
for _ = 1, tonumber(ARGV[4]) do
  local ids = by_lane[tonumber(ARGV[at])]
  ids[#ids + 1] = ARGV[at + 1]
  at = at + 2
end

-- An entry id that is in somebody's hands is in ours: redelivery always makes a new id. One that is
-- in nobody's hands is missing from the answer: that lease is lost. JUSTID leaves the count alone.
local lost, lane_names = {}, { 'high/', 'normal/', 'low/' }
for lane = 1, 3 do
  local ids = by_lane[lane]
  for first = 1, #ids, 1000 do
    local chunk = {}
    for i = first, math.min(first + 999, #ids) do chunk[#chunk + 1] = ids[i] end
    local args = { KEYS[lane], 'workers', worker, 0, unpack(chunk) }
    args[#args + 1] = 'JUSTID'
    local reply = redis.pcall('XCLAIM', unpack(args))
    local kept = {}
    if not reply.err then
      for _, id in ipairs(reply) do kept[id] = true end
    end
    for _, id in ipairs(chunk) do
      if not kept[id] then lost[#lost + 1] = lane_names[lane] .. id end
    end
  end
end

redis.call('HINCRBY', KEYS[4], worker, 1)
redis.call('HSET', KEYS[6], worker, string.format('%d ', server_ms()) .. ARGV[3])
local pending = -1
if ARGV[2] == '1' then
  pending = 0
  for lane = 1, 3 do
    local summary = redis.pcall('XPENDING', KEYS[lane], 'workers')
    if not summary.err and type(summary[4]) == 'table' then
      for _, row in ipairs(summary[4]) do
        if row[1] == worker then pending = pending + tonumber(row[2]) end
      end
    end
  end
end
local flags = redis.call('HMGET', KEYS[5], 'paused', 'cancels', 'concurrency', 'partitions')
local orders = redis.call('HGET', KEYS[7], worker)
if orders then redis.call('HDEL', KEYS[7], worker) end
return { lost, flags[1] == '1' and 1 or 0, redis.call('HGETALL', KEYS[4]), pending, flags[2] and 1 or 0,
  whole(flags[3], 10000) or 0, orders or '', redis.call('ZCARD', KEYS[8]), next_tick(KEYS[8], server_ms(), '-inf'),
  whole(flags[4], 64) or 1 }
