#!lua flags=allow-oom
-- Cancels a job: one that is delayed ends at once, any other is marked, and whoever takes or ends it obeys.
--
-- KEYS[1] -> delayed (sorted set)   KEYS[2] -> delayed envelopes (hash)
-- KEYS[3] -> meta (hash)   KEYS[4] -> done (stream)   KEYS[5] -> cancels (sorted set)
-- ARGV[1] -> job id
-- Allowed while memory is short: jobs that nobody wants are what has to go then.
-- Returns { 1 = it was delayed and has ended, uniqueness key to give back ('' = none) }, or { 0, '' }.
--@include lib/cancel
--@include lib/delay
local body = redis.call('HGET', KEYS[2], ARGV[1])
if body then
  local fields = cjson.decode(body)
  table.remove(fields, 1)
  -- It frees more memory than it takes, so it must pass when memory is short: ZREM first.
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  record_cancelled(KEYS[4], KEYS[5], KEYS[3], ARGV[1], field(fields, 'attempt') or '1', 0)
  return { 1, field(fields, 'unique') or '' }
end
redis.call('ZADD', KEYS[5], 'NX', string.format('%d', server_ms()), ARGV[1])
redis.call('HSET', KEYS[3], 'cancels', '1')
return { 0, '' }
