#!lua flags=allow-oom
-- Cancels a job: one that is delayed or parked ends at once, any other is marked, and whoever takes or ends it obeys.
--
-- KEYS[1] -> delayed (sorted set)   KEYS[2] -> delayed envelopes (hash)
-- KEYS[3] -> meta (hash)   KEYS[4] -> done (stream)   KEYS[5] -> cancels (sorted set)
-- KEYS[6] -> limits: parked (sorted set)   KEYS[7] -> limits: parked envelopes (hash)
-- ARGV[1] -> job id
-- Allowed while memory is short: jobs that nobody wants are what has to go then.
-- Returns { 1 = it was delayed and has ended, 2 = it was parked and has ended, uniqueness key to give back ('' = none) },
--   or { 0, '' }.
--@include lib/cancel
--@include lib/delay
local body, parked = redis.call('HGET', KEYS[2], ARGV[1]), redis.call('HGET', KEYS[7], ARGV[1])
if body or parked then
  local fields = cjson.decode(body or parked)
  table.remove(fields, 1)
  -- It frees more memory than it takes, so it must pass when memory is short: ZREM first.
  if body then
    redis.call('ZREM', KEYS[1], ARGV[1])
    redis.call('HDEL', KEYS[2], ARGV[1])
  else
    redis.call('ZREM', KEYS[6], table.remove(fields, 1))
    redis.call('HDEL', KEYS[7], ARGV[1])
  end
  record_cancelled(KEYS[4], KEYS[5], KEYS[3], ARGV[1], field(fields, 'attempt') or '1', 0)
  return { body and 1 or 2, field(fields, 'unique') or '' }
end
redis.call('ZADD', KEYS[5], 'NX', string.format('%d', server_ms()), ARGV[1])
redis.call('HSET', KEYS[3], 'cancels', '1')
return { 0, '' }
