-- Ends one delivery, in one of four ways, only while this worker holds it.
-- What memory may be refused for is written first, except where it frees more than it takes (done).
-- The entries among `finishes` that are in this worker's hands, as a set per lane.
local function in_hand(lanes, finishes, worker)
  local named, mine = { {}, {}, {} }, { {}, {}, {} }
  for _, f in ipairs(finishes) do table.insert(named[f[2]], f[3]) end
  for lane = 1, 3 do
    -- A few are asked for one by one; for many, all it holds is one call.
    local asked = #named[lane] > 3 and { '' } or named[lane]
    for _, entry in ipairs(asked) do
      local first, last, most = entry, entry, 1
      if entry == '' then first, last, most = '-', '+', 1000000 end
      local rows = redis.pcall('XPENDING', lanes[lane], 'workers', first, last, most, worker)
      if not rows.err then -- an error: there is no such group any more, so nothing is in anybody's hands
        for _, row in ipairs(rows) do mine[lane][row[1]] = true end
      end
    end
  end
  return mine
end

local function drop(stream, entries)
  for first = 1, #entries, 1000 do
    local last = math.min(first + 999, #entries)
    redis.call('XACK', stream, 'workers', unpack(entries, first, last))
    redis.call('XDEL', stream, unpack(entries, first, last))
  end
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
