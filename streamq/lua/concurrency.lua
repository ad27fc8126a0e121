#!lua flags=allow-oom
-- Says how many jobs every worker of the stream shall run at once.
--
-- KEYS[1] -> meta (hash)
-- ARGV[1] -> jobs, '0' = as many as each was made for
-- Allowed while memory is short: then is when people steer by hand.
-- Returns 1 when that changed anything.
local before = redis.call('HGET', KEYS[1], 'concurrency') or '0'
if ARGV[1] == '0' then
  redis.call('HDEL', KEYS[1], 'concurrency')
else
  redis.call('HSET', KEYS[1], 'concurrency', ARGV[1])
end
return before == ARGV[1] and 0 or 1
