#!lua flags=allow-oom
-- Makes the group of every lane and of the wake stream where it is missing, and says in which format all is kept.
--
-- KEYS[1..3] -> lanes high, normal, low   KEYS[4] -> wake (stream)   KEYS[5] -> meta (hash)
-- ARGV[1] -> the format, of a stream that does not say its own
-- At 0: at `$` everything added before would never be read.
-- Allowed while memory is short: without groups nobody could work off what fills it.
-- Returns 1.
for i = 1, 4 do
  local made = redis.pcall('XGROUP', 'CREATE', KEYS[i], 'workers', '0', 'MKSTREAM')
  if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
end
redis.call('HSETNX', KEYS[5], 'format', ARGV[1])
return 1
