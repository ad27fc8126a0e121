-- Takes one entry from a worker that is gone: ready again under a new id with one crash more, or dead
-- when the crash budget is spent and it is to blame, or ended where a person has cancelled it. Returns 'ready', 'dead',
-- 'cancelled' or nil (the entry itself was deleted). Needs lib/cancel and lib/limits.
-- The uniqueness key of a dead one is found only here, so it cannot be among KEYS: it is added to
-- `freed` (key, job id, ...) and the caller gives it back with lua/give_back.lua.
-- `of`: the keys dead, meta, done and cancels, the crash budget, the server's ms, `freed`, `limits` and `blamed`.
-- `of.blamed`: the lease key of the job that the worker named as to blame for its death ('' = it named none); nil:
-- it told nothing of itself.
local lane_words = { 'high', 'normal', 'low' }

-- A job whose budget is spent is spared where its worker told of itself and did not name it: then something else
-- may have killed that worker. Not for ever: what kills whoever is handed it never gets so far as to be named.
local SPARED = 3
local function is_to_blame(crashes, lease_key, of)
  if crashes < of.budget then return false end
  return of.budget <= 1 or not of.blamed or of.blamed == lease_key or crashes >= SPARED * of.budget
end

local function take_back(lane_key, lane, entry_id, owner, of)
  local dead_key, meta_key, freed = of.dead, of.meta, of.freed
  local found = redis.call('XRANGE', lane_key, entry_id, entry_id)
  if #found == 0 then
    redis.call('XACK', lane_key, 'workers', entry_id)
    redis.call('HINCRBY', meta_key, 'vanished', 1)
    return nil
  end
  local fields, crashes, job_id, attempt, has_enqueued, unique = {}, 0, nil, '1', false, nil
  local raw = found[1][2]
  for i = 1, #raw, 2 do
    local name, value = raw[i], raw[i + 1]
    if name == 'crashes' then
      crashes = tonumber(value) or 0
    elseif name ~= 'id' or value ~= '' then -- an empty id is none
      if name == 'id' then job_id = value end
      if name == 'unique' and value ~= '' then unique = value end
      if name == 'attempt' then attempt = value end
      if name == 'enqueued' then has_enqueued = true end
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  if not job_id then
    job_id = entry_id
    fields[#fields + 1] = 'id'
    fields[#fields + 1] = job_id
  end
  if not has_enqueued then
    fields[#fields + 1] = 'enqueued'
    fields[#fields + 1] = string.match(entry_id, '^%d+')
  end
  crashes = crashes + 1
  fields[#fields + 1] = 'crashes'
  fields[#fields + 1] = string.format('%d', crashes)
  local outcome, t = 'ready', terms(fields)
  if redis.call('ZSCORE', of.cancels, job_id) then
    outcome = 'cancelled'
    record_cancelled(of.done, of.cancels, meta_key, job_id, attempt, 0)
  elseif is_to_blame(crashes, lane_words[lane] .. '/' .. entry_id, of) then
    outcome = 'dead'
    local why = string.format('its worker died %d times holding it; the last was %s', crashes, owner)
    redis.call('XADD', dead_key, '*', 'died', string.format('%d', of.now), 'reason', 'crashed', 'error', why,
      'attempts', attempt, 'lane', lane_words[lane], unpack(fields))
  else
    local again = redis.call('XADD', lane_key, '*', unpack(fields))
    if t then limits().keep_slot(of.limits, t, lane, entry_id, again) end
  end
  if unique and outcome ~= 'ready' then
    freed[#freed + 1] = unique
    freed[#freed + 1] = job_id
  end
  redis.call('XACK', lane_key, 'workers', entry_id)
  redis.call('XDEL', lane_key, entry_id)
  if t and outcome ~= 'ready' then limits().left_lane(of.limits, t, lane, entry_id) end
  return outcome
end
