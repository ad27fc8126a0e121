-- Adds jobs, all or none, and remembers the answer so that repeating the call changes nothing.
--
-- KEYS[1] -> remembers this call's answer
-- KEYS[2..4] -> lanes high, normal, low
-- KEYS[5] -> delayed (sorted set)   KEYS[6] -> delayed envelopes (hash)
-- KEYS[7] -> meta (hash)            KEYS[8] -> wake (stream)   KEYS[9] -> cancels (sorted set)
-- KEYS[10..] -> id and uniqueness keys, referred to by index
-- ARGV[1] -> ms the call is remembered      ARGV[2] -> ms a caller-made id is remembered
-- ARGV[3] -> ms an until-done key is held at most, beyond the delay   ARGV[4] -> number of jobs
-- then per job: lane (1..3), delay ms, due ms (0 = by delay), index of id key (0 = none),
--   index of uniqueness key (0 = none), its ms (0 = until done), job id, number of fields, fields...
-- Returns one string per job: '' when it was added, else the id of the job that was there first.
--@include lib/delay
local seen = redis.call('GET', KEYS[1])
if seen then return cjson.decode(seen) end

local now = server_ms()
local answers, created, at = {}, 0, 5
for n = 1, tonumber(ARGV[4]) do
  local lane = tonumber(ARGV[at])
  local due = tonumber(ARGV[at + 2])
  if due == 0 then due = now + tonumber(ARGV[at + 1]) end
  local id_key, unique_key = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local unique_ms, job_id = tonumber(ARGV[at + 5]), ARGV[at + 6]
  local count = tonumber(ARGV[at + 7])
  local first = at + 8
  at = first + count

  local taken
  if id_key > 0 then taken = redis.call('GET', KEYS[id_key]) end
  if not taken and unique_key > 0 then taken = redis.call('GET', KEYS[unique_key]) end
  if taken then
    answers[n] = taken
  else
    local wait = due - now
    local fields = {}
    for i = 1, count do fields[i] = ARGV[first + i - 1] end
    if wait > 0 then
      fields[count + 1] = 'enqueued'
      fields[count + 2] = string.format('%d', now)
      delay(KEYS[5], KEYS[6], KEYS[8], due, job_id, lane, fields)
    else
      redis.call('XADD', KEYS[lane + 1], '*', unpack(fields))
    end
    if id_key > 0 then
      redis.call('SET', KEYS[id_key], job_id, 'PX', ARGV[2])
      redis.call('ZREM', KEYS[9], job_id) -- what a person cancelled was an older job of that id
    end
    if unique_key > 0 then
      if unique_ms == 0 then unique_ms = tonumber(ARGV[3]) + math.max(0, wait) end
      redis.call('SET', KEYS[unique_key], job_id, 'PX', string.format('%d', unique_ms))
    end
    answers[n] = ''
    created = created + 1
  end
end
redis.call('SET', KEYS[1], cjson.encode(answers), 'PX', ARGV[1])
if created > 0 then redis.call('HINCRBY', KEYS[7], 'enqueued', created) end
return answers
