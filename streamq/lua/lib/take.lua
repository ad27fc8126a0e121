-- Reads up to `free` new entries for `worker`, lanes in order: high, normal, low; every 4th take the
-- normal lane and every 8th the low lane gets one slot before the others, so that nothing starves.
local function take(lanes, worker, free, takes)
  local got = {}
  local function read(lane, count)
    if count <= 0 then return end
    local reply = redis.pcall('XREADGROUP', 'GROUP', 'workers', worker, 'COUNT', count, 'STREAMS', lanes[lane], '>')
    if reply and reply.err then
      -- A lane without its group. What was read from another is in this worker's hands and must be told it.
      if #got == 0 then error(reply.err) end
    elseif reply then
      local entries = reply[1][2]
      got[#got + 1] = { lane, entries }
      free = free - #entries
    end
  end
  if takes % 8 == 0 then read(3, math.min(1, free)) end
  if takes % 4 == 0 then read(2, math.min(1, free)) end
  for lane = 1, 3 do read(lane, free) end
  return got
end
