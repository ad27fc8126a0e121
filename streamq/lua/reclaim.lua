-- Takes everything from a worker that is believed dead, at most `limit` entries a call.
--
-- KEYS[1..3] -> lanes high, normal, low    KEYS[4] -> dead (stream)   KEYS[5] -> meta (hash)
-- KEYS[6] -> workers (hash)   KEYS[7] -> turns (hash)   KEYS[8] -> wake (stream)
-- KEYS[9] -> done (stream)   KEYS[10] -> cancels (sorted set)   KEYS[11] -> facts (hash)   KEYS[12] -> orders (hash)
-- KEYS[13] -> delayed (sorted set)   KEYS[14..19] -> limits: held, parked, jobs, due, rates, places
-- ARGV[1] -> worker   ARGV[2] -> its heartbeat as last seen ('' = whatever it is)
-- ARGV[3] -> crash budget   ARGV[4] -> limit
-- Returns { made ready, dead, more (1 = call again), { uniqueness key to give back, its job id, ... }, cancelled }
--@include lib/cancel
--@include lib/delay
--@include lib/limits
--@include lib/reclaim
local worker = ARGV[1]
if ARGV[2] ~= '' and redis.call('HGET', KEYS[6], worker) ~= ARGV[2] then return { 0, 0, 0, {}, 0 } end

-- Anybody may have written what it told: whatever it is, it is read as a worker's that named no job.
local function blamed_by(facts)
  if not facts then return nil end
  local ok, told = pcall(cjson.decode, string.match(facts, '^%d+ (.*)$'))
  return ok and type(told) == 'table' and type(told.to_blame) == 'string' and told.to_blame or ''
end

local limit = tonumber(ARGV[4])
local made = { ready = 0, dead = 0, cancelled = 0 }
local of = { dead = KEYS[4], meta = KEYS[5], done = KEYS[9], cancels = KEYS[10], budget = tonumber(ARGV[3]),
  now = server_ms(), freed = {}, blamed = blamed_by(redis.call('HGET', KEYS[11], worker)),
  limits = limits_of(14, { KEYS[1], KEYS[2], KEYS[3] }, KEYS[5], KEYS[8], KEYS[13]) }
local more = 0
for lane = 1, 3 do
  local rows = redis.pcall('XPENDING', KEYS[lane], 'workers', '-', '+', limit, worker)
  if not rows.err then
    for _, row in ipairs(rows) do
      local outcome = take_back(KEYS[lane], lane, row[1], worker, of)
      if outcome then made[outcome] = made[outcome] + 1 end
    end
    if #rows == limit then more = 1 end
    -- Only when nothing is pending: deleting a consumer drops what it holds.
    if #rows < limit then redis.pcall('XGROUP', 'DELCONSUMER', KEYS[lane], 'workers', worker) end
  end
end
if more == 0 then
  redis.call('HDEL', KEYS[6], worker)
  for _, key in ipairs({ KEYS[7], KEYS[11], KEYS[12] }) do redis.call('HDEL', key, worker) end
  redis.pcall('XGROUP', 'DELCONSUMER', KEYS[8], 'workers', worker)
end
if made.ready + made.dead > 0 then redis.call('HINCRBY', KEYS[5], 'reclaimed', made.ready + made.dead) end
if made.dead > 0 then redis.call('HINCRBY', KEYS[5], 'dead', made.dead) end
return { made.ready, made.dead, more, of.freed, made.cancelled }
