-- Sets or clears the paused flag, and wakes a sleeper so that a resumed stream starts at once.
--
-- KEYS[1] -> meta (hash)   KEYS[2] -> wake (stream)
-- ARGV[1] -> 1 = paused, 0 = not
-- Returns 1 when that changed anything.
local changed
if ARGV[1] == '1' then
  changed = redis.call('HSET', KEYS[1], 'paused', '1')
else
  changed = redis.call('HDEL', KEYS[1], 'paused')
  redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'resumed', '1')
end
return changed
