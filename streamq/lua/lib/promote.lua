-- Makes due jobs ready, at most `limit`, each to the lane it came from; returns ms to the next due (-1 = none).
-- XADD before ZREM: when memory is refused the job stays delayed, and the rest of the turn goes on.
local function promote(set, jobs, lanes, now, limit)
  local function next_due()
    local earliest = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    return #earliest > 0 and math.max(0, tonumber(earliest[2]) - now) or -1
  end
  local left = next_due()
  if left ~= 0 then return left end
  local due = redis.call('ZRANGEBYSCORE', set, '-inf', string.format('%d', now), 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #due, 2 do
    local member, body = due[i], redis.call('HGET', jobs, due[i])
    if body then
      local fields = cjson.decode(body)
      local lane = tonumber(table.remove(fields, 1))
      fields[#fields + 1] = 'eligible'
      fields[#fields + 1] = due[i + 1]
      local added = redis.pcall('XADD', lanes[lane], '*', unpack(fields))
      if type(added) == 'table' and added.err then return 0 end
    end
    redis.call('ZREM', set, member)
    redis.call('HDEL', jobs, member)
  end
  return next_due()
end
