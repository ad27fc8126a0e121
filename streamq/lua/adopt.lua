-- Finds deliveries to this worker that it does not know of: the reply that brought them was lost.
--
-- KEYS[1..3] -> lanes high, normal, low   KEYS[4] -> cancels (sorted set)
-- ARGV[1] -> worker   ARGV[2..] -> lease keys it knows of
-- Returns { { {lane, entries}... }, lease keys of those that are cancelled }
--@include lib/cancel
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
  if #entries > 0 then got[#got + 1] = { lane, entries } end
end
return { got, among_cancelled(KEYS[4], got) }
