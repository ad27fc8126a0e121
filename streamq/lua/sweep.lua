-- Takes what has long been in the hands of a worker nobody knows (a reply lost, a foreign consumer), and slots of
-- limits from entries that somebody has deleted.
--
-- KEYS[1..3] -> lanes high, normal, low    KEYS[4] -> dead (stream)   KEYS[5] -> meta (hash)
-- KEYS[6] -> workers (hash)   KEYS[7] -> done (stream)   KEYS[8] -> cancels (sorted set)
-- KEYS[9] -> wake (stream)   KEYS[10] -> delayed (sorted set)
-- KEYS[11..16] -> limits: held, parked, jobs, due, rates, places
-- ARGV[1] -> idle ms   ARGV[2] -> crash budget   ARGV[3] -> limit
-- Returns { made ready, dead, { uniqueness key to give back, its job id, ... }, cancelled }
--@include lib/cancel
--@include lib/delay
--@include lib/limits
--@include lib/reclaim
local made = { ready = 0, dead = 0, cancelled = 0 }
local of = { dead = KEYS[4], meta = KEYS[5], done = KEYS[7], cancels = KEYS[8], budget = tonumber(ARGV[2]),
  now = server_ms(), freed = {}, limits = limits_of(11, { KEYS[1], KEYS[2], KEYS[3] }, KEYS[5], KEYS[9], KEYS[10]) }
-- First who holds anything: to look for what is idle through all that the living hold would cost as much as that.
-- And before that whether anybody does: who holds what is a walk over all consumers.
for lane = 1, 3 do
  local held, left = redis.pcall('XPENDING', KEYS[lane], 'workers', '-', '+', 1), tonumber(ARGV[3])
  local holders = not held.err and #held > 0 and redis.call('XPENDING', KEYS[lane], 'workers')[4] or {}
  for _, holder in ipairs(holders) do
    if left > 0 and redis.call('HEXISTS', KEYS[6], holder[1]) == 0 then
      local rows = redis.call('XPENDING', KEYS[lane], 'workers', 'IDLE', ARGV[1], '-', '+', left, holder[1])
      left = left - #rows
      for _, row in ipairs(rows) do
        local outcome = take_back(KEYS[lane], lane, row[1], row[2], of)
        if outcome then made[outcome] = made[outcome] + 1 end
      end
    end
  end
end
-- Any hundred of them: whoever holds one for nothing is met sooner or later.
for _, slot in ipairs(redis.call('ZRANDMEMBER', KEYS[11], ARGV[3])) do
  local group, lane, entry = string.match(slot, '^(.*)\n[rx]([123])/(%d+%-%d+)$')
  if group and #redis.call('XRANGE', KEYS[tonumber(lane)], entry, entry) == 0 then
    limits().let_go(of.limits, group, tonumber(lane), entry)
  end
end
if made.ready + made.dead > 0 then redis.call('HINCRBY', KEYS[5], 'reclaimed', made.ready + made.dead) end
if made.dead > 0 then redis.call('HINCRBY', KEYS[5], 'dead', made.dead) end
return { made.ready, made.dead, of.freed, made.cancelled }
