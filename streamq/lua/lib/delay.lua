-- The server's clock, ms.
local function server_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Puts a job among the delayed and wakes one sleeper when it is the new earliest.
-- The envelope is stored first: without it a due id would be a job without a body.
-- Two jobs of one id (a foreign producer may send them) must not overwrite each other.
local function delay(set, jobs, wake, due, job_id, lane, fields)
  local member = job_id
  if redis.call('HEXISTS', jobs, member) == 1 then
    member = job_id .. '#' .. redis.call('HLEN', jobs) .. '.' .. string.format('%d', due)
    while redis.call('HEXISTS', jobs, member) == 1 do member = member .. '+' end
  end
  local earliest = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
  local body = { string.format('%d', lane) }
  for i = 1, #fields do body[i + 1] = fields[i] end
  redis.call('HSET', jobs, member, cjson.encode(body))
  redis.call('ZADD', set, string.format('%d', due), member)
  if #earliest == 0 or due < tonumber(earliest[2]) then
    redis.call('XADD', wake, 'MAXLEN', 1, '*', 'due', string.format('%d', due))
  end
end
