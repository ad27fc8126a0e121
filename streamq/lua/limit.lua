-- Generic cell rate algorithm: may one more start now, and if not, when? Whoever says who it is and is refused is
-- promised a moment of its own, so that many who wait do not all come at the next one.
--
-- KEYS[1] -> the limiter's theoretical arrival time, microseconds
-- KEYS[2] -> sorted set: who was promised a moment, and which (microseconds, whole milliseconds)
-- ARGV[1] -> microseconds per start   ARGV[2] -> burst (starts that may come at once)
-- ARGV[3] -> who asks, '' = nobody in particular   ARGV[4] -> how far ahead a promise may lie, microseconds
-- ARGV[5] -> how long a promise is kept for one who does not come, microseconds
-- ARGV[6] -> 1 = wait for the rate alone, not for those who were promised a moment; is promised none
-- Returns 0 = go (counted), else microseconds until one may go (not counted).
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval, burst, who = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local horizon, kept, urgent = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local free_at = arrival - interval * (burst - 1)

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%d', now - kept))
local mine = tonumber(redis.call('ZSCORE', KEYS[2], who) or nil) -- nobody in particular has none
if mine and mine > now and not urgent then return mine - now end
-- Behind all who were promised a moment. Without a burst nothing absorbs a start that is a little late.
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
local spacing = burst > 1 and interval or math.ceil(interval * 1.05)
local next_at = last and not urgent and math.max(free_at, tonumber(last) + spacing) or free_at

if free_at <= now and (mine or next_at <= now) then
  arrival = arrival + interval
  redis.call('SET', KEYS[1], string.format('%d', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1)
  if mine then redis.call('ZREM', KEYS[2], who) end
  return 0
end
if who == '' or urgent then return next_at - now end
if next_at - now > horizon then return horizon end
next_at = math.ceil(next_at / 1000) * 1000
redis.call('ZADD', KEYS[2], string.format('%d', next_at), who)
redis.call('PEXPIRE', KEYS[2], math.ceil((next_at - now + kept) / 1000))
return next_at - now
