-- Reads up to `free` new entries for `worker`, lanes in order: high, normal, low; but of every eight jobs
-- that it takes the 4th is the normal lane's and the 8th the low lane's, so that nothing starves.
-- Needs lib/limits.

-- Entries that are looked at in one take, when most of them may not start.
local LOOKED = 1000

-- Those of the entries that may start.
local function startable(L, lane, entries)
  local kept
  for i, entry in ipairs(entries) do
    local t = terms(entry[2])
    if t and not kept then kept = { unpack(entries, 1, i - 1) } end
    if kept and (not t or limits().may_start(L, lane, entry[1], entry[2], t)) then kept[#kept + 1] = entry end
  end
  return kept or entries
end

-- How many of the `free` jobs that come after the first `taken` are `th` in their eight.
local function share(taken, free, th)
  return math.floor((taken + free + 8 - th) / 8) - math.floor((taken + 8 - th) / 8)
end

-- The same entries, lane by lane: where more are taken than there are slots, the first start first.
local function in_order(got)
  if #got < 2 then return got end
  local sorted = {}
  for lane = 1, 3 do
    for _, one in ipairs(got) do
      if one[1] == lane then sorted[#sorted + 1] = one end
    end
  end
  return sorted
end

local function take(lanes, worker, free, taken, L)
  local got, looked = {}, 0
  local function read(lane, count)
    while count > 0 and looked < LOOKED do
      local reply = redis.pcall('XREADGROUP', 'GROUP', 'workers', worker, 'COUNT', count, 'STREAMS', lanes[lane], '>')
      if not reply then return end
      if reply.err then
        -- A lane without its group. What was read from another is in this worker's hands and must be told it.
        if #got == 0 then error(reply.err) end
        return
      end
      local read_now = reply[1][2]
      local entries = startable(L, lane, read_now)
      if #entries > 0 then got[#got + 1] = { lane, entries } end
      free, count, looked = free - #entries, count - #entries, looked + #read_now
      if #read_now == #entries then return end
    end
  end
  -- Reading costs more than looking. The normal lane is read always: that is how a lost group is noticed.
  local normals, lows = share(taken, free, 4), share(taken, free, 8)
  if lows > 0 and redis.call('XLEN', lanes[3]) > 0 then read(3, lows) end
  if redis.call('XLEN', lanes[1]) > 0 then
    if normals > 0 then read(2, normals) end
    read(1, free)
  end
  read(2, free)
  if free > 0 and redis.call('XLEN', lanes[3]) > 0 then read(3, free) end
  return in_order(got), looked >= LOOKED
end
