#!lua flags=allow-oom
-- Says in one partition of a stream how many there are; never fewer than it knew of.
--
-- KEYS[1] -> meta (hash)
-- ARGV[1] -> partitions   ARGV[2] -> 1 = it is new and begins paused
-- ARGV[3] -> jobs at once asked for where it is new (0 = not)
-- Returns how many there are.
local before = tonumber(redis.call('HGET', KEYS[1], 'partitions') or 1)
if tonumber(ARGV[1]) <= before then return before end
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'paused', '1') end
if ARGV[3] ~= '0' then redis.call('HSET', KEYS[1], 'concurrency', ARGV[3]) end
redis.call('HSET', KEYS[1], 'partitions', ARGV[1])
return tonumber(ARGV[1])
