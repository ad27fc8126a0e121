-- One stream in numbers, read in one step. Ready = length less pending: exact, for an ack deletes.
--
-- KEYS[1..3] -> lanes high, normal, low   KEYS[4] -> delayed   KEYS[5] -> dead   KEYS[6] -> done
-- KEYS[7] -> workers (hash)   KEYS[8] -> meta (hash)   KEYS[9] -> limits: parked (sorted set)
-- Returns { ready high, normal, low, leased, delayed, dead, done, ms of the oldest ready (-1 = none),
--           workers, { meta field, value, ... }, now ms, parked }
--@include lib/delay
local now = server_ms()
local ready, leased, oldest = {}, 0, -1
for lane = 1, 3 do
  local length, pending = redis.call('XLEN', KEYS[lane]), 0
  local after = '-'
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[lane])
  if not groups.err then
    for _, group in ipairs(groups) do
      local named = {}
      for i = 1, #group, 2 do named[group[i]] = group[i + 1] end
      if named['name'] == 'workers' then
        pending = named['pending']
        after = '(' .. named['last-delivered-id']
      end
    end
  end
  ready[lane] = math.max(0, length - pending)
  leased = leased + pending
  if ready[lane] > 0 then
    local first = redis.call('XRANGE', KEYS[lane], after, '+', 'COUNT', 1)
    if #first > 0 then
      local added = tonumber(string.match(first[1][1], '^%d+'))
      local raw = first[1][2]
      for i = 1, #raw, 2 do
        if raw[i] == 'eligible' then added = tonumber(raw[i + 1]) or added end
      end
      if oldest < 0 or added < oldest then oldest = added end
    end
  end
end
return { ready[1], ready[2], ready[3], leased, redis.call('ZCARD', KEYS[4]), redis.call('XLEN', KEYS[5]),
  redis.call('XLEN', KEYS[6]), oldest, redis.call('HLEN', KEYS[7]), redis.call('HGETALL', KEYS[8]), now,
  redis.call('ZCARD', KEYS[9]) }
