-- One turn of a worker: apply what finished, promote what is due, take what is free.
--
-- KEYS[1..3] -> lanes high, normal, low
-- KEYS[4] -> delayed (sorted set)   KEYS[5] -> delayed envelopes (hash)
-- KEYS[6] -> meta (hash)            KEYS[7] -> done (stream)     KEYS[8] -> dead (stream)
-- KEYS[9] -> workers (hash)         KEYS[10] -> turns (hash)     KEYS[11] -> wake (stream)
-- KEYS[12] -> cancels (sorted set)  KEYS[13..18] -> limits: held, parked, jobs, due, rates, places
-- KEYS[19..] -> uniqueness keys, referred to by index
-- ARGV[1] -> worker       ARGV[2] -> sequence     ARGV[3] -> free slots
-- ARGV[4] -> promote at most   ARGV[5] -> completed records kept at most   ARGV[6] -> 0, or to register the worker: the format it knows
-- ARGV[7] -> how many jobs this worker has taken so far, for the lanes' shares
-- ARGV[8] -> finishes, as one MessagePack array ("" = none); each an array:
--   'd' lane entry job_id unique_index attempt duration_ms [first n]   done; fields of the record beside the usual
--   'a' lane entry job_id unique_index delay_ms counts unique_ms first n   again (counts: 1 = a retry, 0 = a snooze)
--   'b' lane entry job_id unique_index first n                     bury
--   'r' lane entry job_id unique_index first n                     release
--   'c' lane entry job_id unique_index attempt duration_ms         cancelled by a person
--   where `n` fields are arguments from the `first` on
-- ARGV[9] -> those of them whose start depends on other jobs, as one MessagePack array ("" = none); each an array:
--   lane entry job_id limit_key ("" = none) replace (1 = what waits of its uniqueness key may be replaced, 0 = not)
-- Returns { { {lane, entries}... }, refused lease keys ('!' before those that ended as cancelled),
--   paused (1|0), ms to the next due (-1 = none), now ms, jobs at once asked for (0 = not),
--   lease keys of what was taken and is cancelled }
--@include lib/cancel
--@include lib/whole
--@include lib/delay
--@include lib/limits
--@include lib/finish
--@include lib/promote
--@include lib/take
local lanes = { KEYS[1], KEYS[2], KEYS[3] }
local worker = ARGV[1]
if ARGV[6] ~= '0' then
  local format = redis.call('HGET', KEYS[6], 'format')
  if format and (tonumber(format) or math.huge) > tonumber(ARGV[6]) then
    return redis.error_reply('FORMAT ' .. (string.match(format, '^%d+$') or '0'))
  end
end
local L = limits_of(13, lanes, KEYS[6], KEYS[11], KEYS[4])
local now = server_ms()
local flags = redis.call('HMGET', KEYS[6], 'paused', 'cancels', 'concurrency')
local marks = flags[2] -- false: nobody has cancelled anything, and no job is asked after

-- Applies what finished, `mine` of which are in this worker's hands; returns the keys of the leases that were refused.
local function settle(finishes, mine)
  local refused, counts, lane_names = {}, {}, { 'high/', 'normal/', 'low/' }
  local limited, gone = ARGV[9] ~= '' and cmsgpack.unpack(ARGV[9]) or {}, {}

  -- Whether this worker may end it; it may do so once.
  local function may_end(lane, entry)
    if mine[lane][entry] then
      mine[lane][entry] = nil
      if limited[1] then gone[lane .. '/' .. entry] = '' end
      return true
    end
    refused[#refused + 1] = lane_names[lane] .. entry
    return false
  end

  local function count(what) counts[what] = (counts[what] or 0) + 1 end

  -- Done: acknowledge, delete, record. It frees memory, so it must pass when memory is short: XACK first.
  local done, ended, cancelled = {}, { {}, {}, {} }, {}
  for _, f in ipairs(finishes) do
    if f[1] == 'c' or marks and redis.call('ZSCORE', KEYS[12], f[4]) then
      cancelled[#cancelled + 1] = f
    elseif f[1] == 'd' and may_end(f[2], f[3]) then
      done[#done + 1] = f
      table.insert(ended[f[2]], f[3])
    end
  end
  for lane = 1, 3 do drop(lanes[lane], ended[lane]) end
  for _, f in ipairs(done) do
    if f[8] then
      redis.call('XADD', KEYS[7], '*', 'id', f[4], 'attempt', f[6], 'ms', f[7], unpack(slice(f[8], f[9])))
    else
      redis.call('XADD', KEYS[7], '*', 'id', f[4], 'attempt', f[6], 'ms', f[7])
    end
    if f[5] > 0 then give_back(L, KEYS[f[5]], f[4]) end
  end
  if #done > 0 then
    counts.done = #done
    -- Not at each turn, and then a tenth more: an exact trim walks over what was dropped from the first node before.
    local most = tonumber(ARGV[5])
    if redis.call('XLEN', KEYS[7]) > most then
      redis.call('XTRIM', KEYS[7], 'MAXLEN', string.format('%d', most - math.floor(most / 10)))
    end
  end

  -- Cancelled ones end as that, whatever their worker says of them; one that did not know is refused.
  for _, f in ipairs(cancelled) do
    local lane, entry = f[2], f[3]
    if may_end(lane, entry) then
      local attempt = entry_field(lanes[lane], entry, 'attempt') or '1'
      local ms = (f[1] == 'c' or f[1] == 'd') and f[7] or 0
      if f[1] ~= 'c' then refused[#refused + 1] = '!' .. lane_names[lane] .. entry end
      drop(lanes[lane], { entry })
      record_cancelled(KEYS[7], KEYS[12], KEYS[6], f[4], attempt, ms)
      if f[5] > 0 then give_back(L, KEYS[f[5]], f[4]) end
    end
    f[1] = 'c'
  end

  for _, f in ipairs(finishes) do
    local what, lane, entry, job_id, unique = f[1], f[2], f[3], f[4], f[5]
    if what ~= 'd' and what ~= 'c' and may_end(lane, entry) then
      if what == 'a' then
        delay(KEYS[4], KEYS[5], KEYS[11], now + f[6], job_id, lane, slice(f[9], f[10]))
        if unique > 0 then keep_longer(KEYS[unique], job_id, f[8]) end
        count(f[7] == 1 and 'retried' or 'snoozed')
      elseif what == 'b' then
        redis.call('XADD', KEYS[8], '*', 'died', string.format('%d', now), unpack(slice(f[6], f[7])))
        if unique > 0 then give_back(L, KEYS[unique], job_id) end
        count('dead')
      else
        -- Ready again under a new id, nothing counted.
        local again = redis.call('XADD', lanes[lane], '*', unpack(slice(f[6], f[7])))
        if limited[1] then gone[lane .. '/' .. entry] = again end
        count('released')
      end
      drop(lanes[lane], { entry })
    end
  end
  for _, one in ipairs(limited) do
    local lane, entry, t = one[1], one[2], { id = one[3], group = one[4] ~= '' and 'l' .. one[4], replace = one[5] == 1 }
    local again = gone[lane .. '/' .. entry] -- nil: it was refused
    if again == '' then
      limits().left_lane(L, t, lane, entry)
    elseif again then
      limits().keep_slot(L, t, lane, entry, again)
    end
  end
  for what, many in pairs(counts) do redis.call('HINCRBY', KEYS[6], what, many) end
  return refused
end

local refused = {}
if ARGV[8] ~= '' then
  local finishes = cmsgpack.unpack(ARGV[8])
  local mine = in_hand(lanes, finishes, worker)
  -- Of a turn that was applied before nothing is in hand any more: only then is it worth a look.
  local last = not mine[finishes[1][2]][finishes[1][3]] and redis.call('HGET', KEYS[10], worker)
  local seen = last and string.match(last, '^(%d+)|')
  if seen == ARGV[2] then
    for key in string.gmatch(string.sub(last, #seen + 2), '[^,]+') do refused[#refused + 1] = key end
  else
    refused = settle(finishes, mine)
    redis.call('HSET', KEYS[10], worker, ARGV[2] .. '|' .. table.concat(refused, ','))
  end
end

local next_due = promote(KEYS[4], KEYS[5], now, ARGV[4], L)

local paused = flags[1] == '1'
local free, got, more = tonumber(ARGV[3]), {}, false
if free > 0 and not paused then got, more = take(lanes, worker, free, tonumber(ARGV[7]), L) end
if more then next_due = 0 end -- much may not start: what may comes with the next turn
local cancelled = marks and among_cancelled(KEYS[12], got) or 0
-- Refused while memory is short, and then the next heartbeat does it: a worker must be able to drain.
if ARGV[6] ~= '0' then redis.pcall('HSETNX', KEYS[9], worker, 0) end

return { got, refused, paused and 1 or 0, next_due, now, whole(flags[3], 10000) or 0, cancelled }
