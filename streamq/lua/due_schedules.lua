-- Schedules whose next tick is due, with their records, at most `limit`; none while the stream is paused.
--
-- KEYS[1] -> schedules (sorted set)   KEYS[2] -> records (hash)   KEYS[3] -> meta (hash)
-- ARGV[1] -> limit
-- Returns { { id, due ms, record, ... }, now ms, paused (1|0), ms to the next that is not due (-1 = none) }
--@include lib/delay
--@include lib/ticks
local now = server_ms()
if redis.call('HGET', KEYS[3], 'paused') == '1' then return { {}, now, 1, -1 } end
local at = string.format('%d', now)
local due, found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at, 'WITHSCORES', 'LIMIT', 0, ARGV[1]), {}
for i = 1, #due, 2 do
  local record = redis.call('HGET', KEYS[2], due[i])
  if record then
    for _, word in ipairs({ due[i], due[i + 1], record }) do found[#found + 1] = word end
  else
    redis.call('ZREM', KEYS[1], due[i]) -- somebody has deleted its record by hand
  end
end
return { found, now, 0, next_tick(KEYS[1], now, '(' .. at) }
