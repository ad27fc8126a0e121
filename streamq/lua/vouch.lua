#!lua flags=allow-oom
-- Renews all that a worker holds, in its stead: it lives and cannot say so.
--
-- KEYS[1..3] -> lanes high, normal, low    KEYS[4] -> workers (hash)
-- ARGV[1] -> worker
-- Allowed while memory is short, as its own renewal is.
-- Returns how many leases were renewed; -1: no such worker is known, it has said goodbye or was struck off
local worker = ARGV[1]
if redis.call('HEXISTS', KEYS[4], worker) == 0 then return -1 end
local renewed = 0
for lane = 1, 3 do
  local from = '-'
  while from do
    local held = redis.pcall('XPENDING', KEYS[lane], 'workers', from, '+', 1000, worker)
    if held.err or #held == 0 then break end
    local args = { KEYS[lane], 'workers', worker, 0 }
    for _, row in ipairs(held) do args[#args + 1] = row[1] end
    args[#args + 1] = 'JUSTID' -- leaves the delivery count alone
    redis.call('XCLAIM', unpack(args))
    renewed = renewed + #held
    from = #held == 1000 and '(' .. held[#held][1]
  end
end
redis.call('HINCRBY', KEYS[4], worker, 1)
return renewed
