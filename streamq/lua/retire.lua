-- A worker says goodbye. What it still holds keeps it on the list, to be reclaimed like a dead one's.
--
-- KEYS[1..3] -> lanes high, normal, low    KEYS[4] -> wake (stream)
-- KEYS[5] -> workers (hash)   KEYS[6] -> turns (hash)   KEYS[7] -> facts (hash)   KEYS[8] -> orders (hash)
-- ARGV[1] -> worker
-- Returns 1 when it is gone, 0 when it still holds something.
for lane = 1, 3 do
  local rows = redis.pcall('XPENDING', KEYS[lane], 'workers', '-', '+', 1, ARGV[1])
  if not rows.err and #rows > 0 then return 0 end
end
for key = 1, 4 do redis.pcall('XGROUP', 'DELCONSUMER', KEYS[key], 'workers', ARGV[1]) end
for key = 5, 8 do redis.call('HDEL', KEYS[key], ARGV[1]) end
return 1
