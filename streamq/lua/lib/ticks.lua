-- Milliseconds until the earliest tick from the score `from` on; -1 = there is none.
local function next_tick(schedules, now, from)
  local first = redis.call('ZRANGEBYSCORE', schedules, from, '(inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return #first > 0 and math.max(0, tonumber(first[2]) - now) or -1
end
