-- Who works on the stream, and how much each has in hand.
--
-- KEYS[1..3] -> lanes high, normal, low    KEYS[4] -> workers (hash)    KEYS[5] -> facts (hash)
-- Returns { { worker, heartbeat, ... }, { worker, facts, ... }, { worker, jobs in hand, ... }, now ms }
--@include lib/delay
local names, held, in_hand = {}, {}, {}
for lane = 1, 3 do
  local summary = redis.pcall('XPENDING', KEYS[lane], 'workers')
  if not summary.err and type(summary[4]) == 'table' then
    for _, row in ipairs(summary[4]) do
      if not held[row[1]] then names[#names + 1] = row[1] end
      held[row[1]] = (held[row[1]] or 0) + tonumber(row[2])
    end
  end
end
for i, name in ipairs(names) do
  in_hand[2 * i - 1] = name
  in_hand[2 * i] = held[name]
end
return { redis.call('HGETALL', KEYS[4]), redis.call('HGETALL', KEYS[5]), in_hand, server_ms() }
