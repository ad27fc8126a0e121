-- A cancelled job leaves a record among the completed ones, and its mark goes; with the last one the flag
-- goes that makes every turn look at marks.
local function unmark(cancels, meta, job_id)
  local was = redis.call('ZREM', cancels, job_id)
  if was == 1 and redis.call('ZCARD', cancels) == 0 then redis.call('HDEL', meta, 'cancels') end
  return was
end

local function record_cancelled(done, cancels, meta, job_id, attempt, ms)
  redis.call('XADD', done, '*', 'id', job_id, 'attempt', attempt, 'ms', ms, 'outcome', 'cancelled')
  redis.call('HINCRBY', meta, 'cancelled', 1)
  unmark(cancels, meta, job_id)
end

-- The value of a field of flat fields, nil where it is missing or empty.
local function field(flat, name)
  for i = 1, #flat, 2 do
    if flat[i] == name then
      if flat[i + 1] == '' then return nil end
      return flat[i + 1]
    end
  end
end

local function entry_field(stream, entry, name)
  local found = redis.call('XRANGE', stream, entry, entry)
  return found[1] and field(found[1][2], name)
end

-- Lease keys of those among { {lane, entries}... } that are cancelled.
local function among_cancelled(cancels, got)
  local found, lane_names = {}, { 'high/', 'normal/', 'low/' }
  for _, part in ipairs(got) do
    for _, entry in ipairs(part[2]) do
      if redis.call('ZSCORE', cancels, field(entry[2], 'id') or entry[1]) then
        found[#found + 1] = lane_names[part[1]] .. entry[1]
      end
    end
  end
  return found
end
