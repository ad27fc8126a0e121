-- Makes dead letters ready again: attempt 1, no crashes, the same job id.
--
-- KEYS[1..3] -> lanes high, normal, low    KEYS[4] -> dead (stream)   KEYS[5] -> meta (hash)
-- KEYS[6] -> cancels (sorted set)   KEYS[7] -> wake (stream)   KEYS[8] -> delayed (sorted set)
-- KEYS[9..14] -> limits: held, parked, jobs, due, rates, places
-- KEYS[15..] -> uniqueness keys, referred to by index
-- ARGV[1] -> ms an until-done key is held at most
-- then per dead letter: entry id, lane, job id, index of uniqueness key (0 = none), n, fields...
-- Returns one per dead letter: 1 ready, 0 its uniqueness key is taken, -1 it is gone.
--@include lib/delay
--@include lib/limits
local L = limits_of(9, { KEYS[1], KEYS[2], KEYS[3] }, KEYS[5], KEYS[7], KEYS[8])
local answers, at = {}, 2
while at <= #ARGV do
  local entry, lane, job_id = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  local unique, n = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local answer = 1
  if #redis.call('XRANGE', KEYS[4], entry, entry) == 0 then
    answer = -1
  elseif unique > 0 and not redis.call('SET', KEYS[unique], job_id, 'NX', 'PX', ARGV[1]) then
    answer = 0
  else
    local fields = {}
    for i = 1, n do fields[i] = ARGV[at + 4 + i] end
    make_ready(L, lane, fields)
    redis.call('XDEL', KEYS[4], entry)
    redis.call('ZREM', KEYS[6], job_id)
    redis.call('HINCRBY', KEYS[5], 'requeued', 1)
  end
  answers[#answers + 1] = answer
  at = at + 5 + n
end
return answers
