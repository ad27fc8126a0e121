-- Drops completed records and dead letters past their time, a bounded number a call.
--
-- KEYS[1] -> done (stream)   KEYS[2] -> dead (stream)   KEYS[3] -> cancels (sorted set)   KEYS[4] -> meta (hash)
-- ARGV[1] -> ms a completed record is kept   ARGV[2] -> how many at most
-- ARGV[3] -> ms a dead letter is kept   ARGV[4] -> limit   ARGV[5] -> ms the mark of a cancelled job is kept
-- Returns { completed records dropped, dead letters dropped }
--@include lib/delay
local now = server_ms()
local function before(ms) return '(' .. string.format('%d', math.max(0, now - tonumber(ms))) end
-- XDEL and never XTRIM MINID: on streams where XDEL is used the latter may leave an empty node
-- that a later server refuses to load (redis#15808).
local function drop(key, ms)
  local old = redis.call('XRANGE', key, '-', before(ms), 'COUNT', ARGV[4])
  for _, entry in ipairs(old) do redis.call('XDEL', key, entry[1]) end
  return #old
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', before(ARGV[5]))
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('HDEL', KEYS[4], 'cancels') end
local done = drop(KEYS[1], ARGV[1])
redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[2])
return { done, drop(KEYS[2], ARGV[3]) }
