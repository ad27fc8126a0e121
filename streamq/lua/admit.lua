#!lua flags=allow-oom
-- Whether jobs of limited keys that a blocking read has handed over may start; those that may not are parked.
--
-- KEYS[1..3] -> lanes high, normal, low   KEYS[4] -> meta (hash)   KEYS[5] -> wake (stream)
-- KEYS[6] -> delayed (sorted set)   KEYS[7..12] -> limits: held, parked, jobs, due, rates, places
-- ARGV -> per job: lane (1..3), entry id
-- Allowed while memory is short: a worker must be able to drain.
-- Returns one per job: 1 = it may, 0 = it is parked, or somebody has deleted it.
--@include lib/delay
--@include lib/limits
local lanes = { KEYS[1], KEYS[2], KEYS[3] }
local L, answers = limits_of(7, lanes, KEYS[4], KEYS[5], KEYS[6]), {}
for at = 1, #ARGV, 2 do
  local lane, entry = tonumber(ARGV[at]), ARGV[at + 1]
  local found = redis.call('XRANGE', lanes[lane], entry, entry)[1]
  local t = found and terms(found[2])
  answers[#answers + 1] = found and (not t or limits().may_start(L, lane, entry, found[2], t)) and 1 or 0
end
return answers
