-- Generic cell rate algorithm: may one more start now, and if not, when?
--
-- KEYS[1] -> the limiter's theoretical arrival time, microseconds
-- ARGV[1] -> microseconds per start   ARGV[2] -> burst (starts that may come at once)
-- Returns 0 = go (counted), else microseconds until one may go (not counted).
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local allowed_at = arrival - interval * (burst - 1)
if allowed_at > now then return allowed_at - now end
arrival = arrival + interval
redis.call('SET', KEYS[1], string.format('%d', arrival), 'PX', math.ceil((arrival - now) / 1000) + 1)
return 0
