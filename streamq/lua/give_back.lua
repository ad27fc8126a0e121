-- Gives uniqueness keys of ended jobs back, each only if that job still owns it.
--
-- KEYS[n] -> uniqueness key   ARGV[n] -> id of the job that ended
-- Returns how many were given back.
local given = 0
for n = 1, #KEYS do
  if redis.call('GET', KEYS[n]) == ARGV[n] then given = given + redis.call('DEL', KEYS[n]) end
end
return given
