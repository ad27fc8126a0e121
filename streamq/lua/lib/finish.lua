-- Ends one delivery, in one of four ways, only while this worker holds it.
-- What memory may be refused for is written first, except where it frees more than it takes (done).
local function held(stream, entry_id, worker)
  local found = redis.pcall('XPENDING', stream, 'workers', entry_id, entry_id, 1, worker)
  return type(found) == 'table' and not found.err and #found == 1
end

local function drop(stream, entry_id)
  redis.call('XACK', stream, 'workers', entry_id)
  redis.call('XDEL', stream, entry_id)
end

-- Gives a uniqueness key back, if the job still owns it.
local function give_back(key, job_id)
  if redis.call('GET', key) == job_id then redis.call('DEL', key) end
end

-- A job that goes round once more keeps its uniqueness key until it has ended, however late that is.
local function keep_longer(key, job_id, ms)
  if redis.call('GET', key) == job_id and redis.call('PTTL', key) < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
end

local function slice(first, count)
  local fields = {}
  for i = 1, count do fields[i] = ARGV[first + i - 1] end
  return fields
end
