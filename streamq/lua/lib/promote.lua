-- Makes due jobs ready, at most `limit`, each to the lane it came from, and lets those start that waited for the
-- rate of their key; returns ms to the next due (-1 = none). Needs lib/limits.
-- XADD before ZREM: when memory is refused the job stays delayed, and the rest of the turn goes on.

-- Keys at which somebody has to look again.
local function look_again(L, now, limit)
  local at = string.format('%d', now)
  for _, group in ipairs(redis.call('ZRANGEBYSCORE', L.due, '-inf', at, 'LIMIT', 0, limit)) do
    if string.sub(group, 1, 1) == 'u' then -- whoever it waits for was lost: a uniqueness key is held no longer either
      redis.call('ZREMRANGEBYLEX', L.held, '[' .. group .. '\n', '(' .. group .. '\n\255')
    end
    redis.call('ZREM', L.due, group)
    limits().advance(L, group)
  end
end

local function promote(set, jobs, now, limit, L)
  if redis.call('EXISTS', set, L.due) == 0 then return -1 end
  local function next_due()
    local earliest = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    return #earliest > 0 and math.max(0, tonumber(earliest[2]) - now) or -1
  end
  local again = first_of(L.due)
  if again and again <= now then
    look_again(L, now, limit)
    again = first_of(L.due)
  end
  -- The sooner of two waits, each -1 = none.
  local function sooner(wait)
    if not again then return wait end
    return wait >= 0 and math.min(wait, math.max(0, again - now)) or math.max(0, again - now)
  end
  local left = next_due()
  if left ~= 0 then return sooner(left) end
  local due = redis.call('ZRANGEBYSCORE', set, '-inf', string.format('%d', now), 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #due, 2 do
    local member, body = due[i], redis.call('HGET', jobs, due[i])
    if body then
      local fields = cjson.decode(body)
      local lane = tonumber(table.remove(fields, 1))
      fields[#fields + 1] = 'eligible'
      fields[#fields + 1] = due[i + 1]
      if not pcall(make_ready, L, lane, fields) then return 0 end
    end
    redis.call('ZREM', set, member)
    redis.call('HDEL', jobs, member)
  end
  again = first_of(L.due)
  return sooner(next_due())
end
