-- Reads up to `free` new entries for `worker`, lanes in order: high, normal, low; every 4th take the
-- normal lane and every 8th the low lane gets one slot before the others, so that nothing starves.
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

local function take(lanes, worker, free, takes, L)
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
  if takes % 8 == 0 and redis.call('XLEN', lanes[3]) > 0 then read(3, math.min(1, free)) end
  local high = redis.call('XLEN', lanes[1]) > 0
  if high and takes % 4 == 0 then read(2, math.min(1, free)) end
  if high then read(1, free) end
  read(2, free)
  if free > 0 and redis.call('XLEN', lanes[3]) > 0 then read(3, free) end
  return got, looked >= LOOKED
end
