#!lua flags=allow-oom
-- Finds deliveries to this worker that it does not know of: the reply that brought them was lost.
--
-- KEYS[1..3] -> lanes high, normal, low   KEYS[4] -> cancels (sorted set)   KEYS[5] -> meta (hash)
-- KEYS[6] -> wake (stream)   KEYS[7] -> delayed (sorted set)
-- KEYS[8..13] -> limits: held, parked, jobs, due, rates, places
-- ARGV[1] -> worker   ARGV[2..] -> lease keys it knows of
-- Allowed while memory is short: what a worker has in hand it must be able to end.
-- Returns { { {lane, entries}... }, lease keys of those that are cancelled }
--@include lib/cancel
--@include lib/delay
--@include lib/limits
--@include lib/take
local L = limits_of(8, { KEYS[1], KEYS[2], KEYS[3] }, KEYS[5], KEYS[6], KEYS[7])
local known = {}
for i = 2, #ARGV do known[ARGV[i]] = true end
local got, lane_names = {}, { 'high/', 'normal/', 'low/' }
for lane = 1, 3 do
  local rows = redis.pcall('XPENDING', KEYS[lane], 'workers', '-', '+', 10000, ARGV[1])
  local entries = {}
  if not rows.err then
    for _, row in ipairs(rows) do
      if not known[lane_names[lane] .. row[1]] then
        local found = redis.call('XRANGE', KEYS[lane], row[1], row[1])
        if #found == 0 then
          redis.call('XACK', KEYS[lane], 'workers', row[1])
        else
          entries[#entries + 1] = found[1]
        end
      end
    end
  end
  entries = startable(L, lane, entries)
  if #entries > 0 then got[#got + 1] = { lane, entries } end
end
return { got, among_cancelled(KEYS[4], got) }
