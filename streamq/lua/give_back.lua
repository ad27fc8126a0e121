-- Gives uniqueness keys of ended jobs back, each only if that job still owns it; else whoever waits for its end starts.
--
-- KEYS[1..3] -> lanes high, normal, low   KEYS[4] -> meta (hash)   KEYS[5] -> wake (stream)
-- KEYS[6] -> delayed (sorted set)   KEYS[7..12] -> limits: held, parked, jobs, due, rates, places
-- KEYS[12 + n] -> uniqueness key   ARGV[n] -> id of the job that ended
-- Returns how many were given back.
--@include lib/delay
--@include lib/limits
local L, given = limits_of(7, { KEYS[1], KEYS[2], KEYS[3] }, KEYS[4], KEYS[5], KEYS[6]), 0
for n = 1, #ARGV do given = given + give_back(L, KEYS[12 + n], ARGV[n]) end
return given
