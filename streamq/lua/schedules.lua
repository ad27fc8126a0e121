-- Schedules with their records: those that are named, or all of them by their next tick.
--
-- KEYS[1] -> schedules (sorted set)   KEYS[2] -> records (hash)   KEYS[3] -> meta (hash)
-- ARGV[1..] -> ids (none: all)
-- Returns { { id, due ms ('inf' = none), record, ... }, now ms, paused (1|0), ms to the next tick (-1 = none) }
--@include lib/delay
--@include lib/ticks
local ids = #ARGV > 0 and ARGV or redis.call('ZRANGE', KEYS[1], 0, -1)
local found = {}
for _, id in ipairs(ids) do
  local due, record = redis.call('ZSCORE', KEYS[1], id), redis.call('HGET', KEYS[2], id)
  if due and record then
    for _, word in ipairs({ id, due, record }) do found[#found + 1] = word end
  end
end
local now = server_ms()
return { found, now, redis.call('HGET', KEYS[3], 'paused') == '1' and 1 or 0, next_tick(KEYS[1], now, '-inf') }
