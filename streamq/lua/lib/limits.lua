-- Jobs of a key that may not all run at once (docs/wire-format.md, "Limits"). A job of such a key lies in a lane
-- only while it may start; until then it is parked beside the lanes, so that no lane is ever blocked by it.
-- Who lies in a lane or runs holds a slot: `<group>\nr<lane>/<entry>` while it is ready, `<group>\nx...` while it
-- runs. A group is `l<limit key>`, or `u<uniqueness key>` for a job that waits until the one before it has ended.
-- `L`: held, parked, jobs, due, rates, places (see `limits_of`), and the stream's lanes, meta, wake, delayed.
-- Needs lib/delay.
local function limits_of(first, lanes, meta, wake, delayed)
  return { held = KEYS[first], parked = KEYS[first + 1], jobs = KEYS[first + 2], due = KEYS[first + 3],
    rates = KEYS[first + 4], places = KEYS[first + 5], lanes = lanes, meta = meta, wake = wake, delayed = delayed }
end

local function in_range(n, least, most) return type(n) == 'number' and n >= least and n <= most end

-- The terms in a `limit` field, nil where it does not decode (such a job is buried unrun, see wire.py).
local function decoded(text)
  local ok, said = pcall(cjson.decode, text)
  if not ok or type(said) ~= 'table' or type(said.key) ~= 'string' or said.key == '' or #said.key > 2048
    or string.find(said.key, '%c') then return nil end
  local t = { group = 'l' .. said.key }
  if in_range(said.running, 1, 1e6) then t.running = said.running end
  if in_range(said.rate, 1e-6, 1e6) then
    t.interval = math.max(1, math.floor(1e6 / said.rate + 0.5))
    t.burst = in_range(said.burst, 1, 1e4) and said.burst or 1
  end
  return (t.running or t.interval) and t or nil
end

-- What a job's fields say of when it may start: { group, running, interval (µs), burst, replace, behind, id },
-- nil: at once, as nearly all of them.
local function terms(flat)
  if #flat <= 4 and flat[1] ~= 'limit' and flat[3] ~= 'limit' then return nil end
  local said = {}
  for i = #flat - 1, 1, -2 do said[flat[i]] = flat[i + 1] end -- of a repeated field the first counts
  if not said.limit and not said.replace then return nil end
  local t = said.limit and decoded(said.limit) or {}
  if not said.id or said.id == '' then return t end -- somebody else's: the rest needs an id
  t.id, t.replace = said.id, said.replace
  if said.behind and said.unique then
    t.behind, t.holder = 'u' .. said.unique, 'u' .. said.unique .. '\nxid/' .. said.behind
  end
  return t
end

local function first_of(key)
  local earliest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return earliest[2] and tonumber(earliest[2])
end

-- The rest is made when it is needed: most scripts run without, and making functions costs every call.
local made
local function make_limits()
  local function count(key, prefix) return redis.call('ZLEXCOUNT', key, '[' .. prefix, '(' .. prefix .. '\255') end

  local function server_us()
    local t = redis.call('TIME')
    return t[1] * 1000000 + t[2]
  end

  -- Microseconds until one more may start while `ready` of its group lie in the lanes; 0 = now.
  local function rate_wait(L, t, ready)
    local now = server_us()
    local arrival = math.max(tonumber(redis.call('ZSCORE', L.rates, t.group) or now), now)
    return math.max(0, arrival + (ready - t.burst + 1) * t.interval - now), arrival, now
  end

  -- Microseconds until one more may be made ready, 0 = now, nil = when another of the group has started or ended.
  local function wait_of(L, t)
    if t.running and count(L.held, t.group .. '\n') >= t.running then return nil end
    if not t.interval then return 0 end
    local ready = count(L.held, t.group .. '\nr')
    local wait = rate_wait(L, t, ready)
    if wait > 0 and ready > 0 then return nil end
    return wait
  end

  local function charge(L, t, arrival, now)
    redis.call('ZREMRANGEBYSCORE', L.rates, '-inf', string.format('%.0f', now))
    redis.call('ZADD', L.rates, string.format('%.0f', arrival + t.interval), t.group)
  end

  -- Somebody looks at the group again at `ms`; wakes one sleeper when nothing else is due before.
  local function look_at(L, group, ms)
    local at = string.format('%.0f', ms)
    local other, delayed = first_of(L.due), first_of(L.delayed)
    redis.call('ZADD', L.due, at, group)
    if (not other or ms < other) and (not delayed or ms < delayed) then
      redis.call('XADD', L.wake, 'MAXLEN', 1, '*', 'due', at)
    end
  end

  -- Into its lane, with a slot where it needs one.
  local function put(L, lane, flat, t)
    local entry = redis.call('XADD', L.lanes[lane], '*', unpack(flat))
    if not t then return end
    local at = string.format('%d/%s', lane, entry)
    if t.group then redis.call('ZADD', L.held, 0, t.group .. '\nr' .. at) end
    if t.replace then redis.call('HSET', L.places, t.id, at) end
  end

  local function set_field(flat, name, value, only_if_missing)
    for i = 1, #flat, 2 do
      if flat[i] == name then
        if not only_if_missing then flat[i + 1] = value end
        return
      end
    end
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end

  -- Beside the lanes, behind those of its group and lane that are parked already; `front`: before them.
  -- What memory may be refused for comes first: then nothing is changed.
  local function park(L, group, lane, job_id, flat, front)
    local number = redis.call('HINCRBY', L.meta, 'parked', 1)
    local member = job_id
    if redis.call('HEXISTS', L.jobs, member) == 1 then member = job_id .. '#' .. number end
    local place = group .. '\n' .. string.format('%d%d%016d', lane, front and 0 or 1, number) .. '\n' .. member
    set_field(flat, 'enqueued', string.format('%d', server_ms()), true)
    local body = { string.format('%d', lane), place }
    for i = 1, #flat do body[i + 2] = flat[i] end
    redis.call('HSET', L.jobs, member, cjson.encode(body))
    redis.call('ZADD', L.parked, 0, place)
  end

  -- A parked job: lane, fields, place; nil where it is none.
  local function parked_job(L, member)
    local body = redis.call('HGET', L.jobs, member)
    if not body then return nil end
    local words, flat = cjson.decode(body), {}
    for i = 3, #words do flat[i - 2] = words[i] end
    return tonumber(words[1]), flat, words[2]
  end

  local function unpark(L, member, place)
    redis.call('ZREM', L.parked, place)
    redis.call('HDEL', L.jobs, member)
  end

  local make_ready

  -- Makes ready what may start of a group, and says when somebody has to look again.
  local function advance(L, group)
    while true do
      local head = redis.call('ZRANGEBYLEX', L.parked, '[' .. group .. '\n', '(' .. group .. '\n\255', 'LIMIT', 0, 1)[1]
      if not head then
        redis.call('ZREM', L.due, group)
        return
      end
      local member = string.sub(head, #group + 21)
      local lane, flat = parked_job(L, member)
      local t = lane and terms(flat) or {}
      if string.sub(group, 1, 1) == 'u' then
        if count(L.held, group .. '\n') > 0 then return end
      elseif t.group == group then
        local wait = wait_of(L, t)
        if not wait then return end
        if wait > 0 then
          local ms = math.ceil((server_us() + wait) / 1000)
          local known = tonumber(redis.call('ZSCORE', L.due, group) or -1)
          if known ~= ms then look_at(L, group, ms) end
          return
        end
      end
      unpark(L, member, head)
      if lane then -- else somebody has deleted it by hand
        set_field(flat, 'eligible', string.format('%d', server_ms()))
        if t.group == group then
          put(L, lane, flat, t)
        else
          make_ready(L, lane, flat)
        end
      end
    end
  end

  -- A job may start from now on: into its lane, or beside it until its key lets it.
  function make_ready(L, lane, flat)
    local t = terms(flat)
    if t and t.behind and redis.call('ZSCORE', L.held, t.holder) then
      park(L, t.behind, lane, t.id, flat)
    elseif t and t.group and (count(L.parked, t.group .. '\n') > 0 or wait_of(L, t) ~= 0) then
      park(L, t.group, lane, t.id, flat)
      advance(L, t.group)
    else
      put(L, lane, flat, t)
    end
  end

  -- Whether an entry that was just handed over may start. If not it is taken out of its lane and parked: one that
  -- somebody else's XADD has added without a slot, or one that was given back and whose rate is spent.
  local function may_start(L, lane, entry, flat, t)
    if not t.group then return true end
    local at = string.format('%d/%s', lane, entry)
    if redis.call('ZSCORE', L.held, t.group .. '\nx' .. at) then return true end -- it was, before
    local has_slot = redis.call('ZREM', L.held, t.group .. '\nr' .. at) == 1
    local free = has_slot or count(L.parked, t.group .. '\n') == 0
      and not (t.running and count(L.held, t.group .. '\n') >= t.running)
    if free and t.interval then
      -- Before those that are ready and whose slots it was made ready with; behind them without one.
      local wait, arrival, now = rate_wait(L, t, has_slot and 0 or count(L.held, t.group .. '\nr'))
      free = wait == 0
      if free then charge(L, t, arrival, now) end
    end
    if free then
      redis.call('ZADD', L.held, 0, t.group .. '\nx' .. at)
      if t.interval then advance(L, t.group) end
      return true
    end
    redis.call('XACK', L.lanes[lane], 'workers', entry)
    redis.call('XDEL', L.lanes[lane], entry)
    set_field(flat, 'enqueued', string.match(entry, '^%d+'), true)
    set_field(flat, 'id', entry, t.id)
    park(L, t.group, lane, t.id or entry, flat, has_slot)
    advance(L, t.group)
    return false
  end

  -- A job of a group does not run any more; the next one may.
  local function let_go(L, group, lane, entry)
    local at = string.format('%d/%s', lane, entry)
    local running, ready = group .. '\nx' .. at, group .. '\nr' .. at
    if redis.call('ZREM', L.held, running, ready) > 0 then advance(L, group) end
  end

  -- It is ready again under another entry id, and keeps its slot.
  local function keep_slot(L, t, lane, old, new)
    local before, after = string.format('%d/%s', lane, old), string.format('%d/%s', lane, new)
    if t.group and redis.call('ZREM', L.held, t.group .. '\nx' .. before, t.group .. '\nr' .. before) > 0 then
      redis.call('ZADD', L.held, 0, t.group .. '\nr' .. after)
    end
    if t.replace then redis.call('HSET', L.places, t.id, after) end
  end

  -- An entry has left its lane for good, by whatever way; `t` are its terms.
  local function left_lane(L, t, lane, entry)
    if t.replace then redis.call('HDEL', L.places, t.id) end
    if t.group then let_go(L, t.group, lane, entry) end
  end

  return { look_at = look_at, set_field = set_field, parked_job = parked_job, unpark = unpark, advance = advance,
    make_ready = make_ready, may_start = may_start, let_go = let_go, keep_slot = keep_slot, left_lane = left_lane }
end

local function limits()
  made = made or make_limits()
  return made
end

-- A job may start from now on: into its lane, or beside it until its key lets it.
local function make_ready(L, lane, flat)
  if terms(flat) then return limits().make_ready(L, lane, flat) end
  redis.call('XADD', L.lanes[lane], '*', unpack(flat))
end

-- A job has ended: its uniqueness key is free if it still owns it, and who waits for its end may start.
local function give_back(L, key, job_id)
  if redis.call('GET', key) == job_id then
    redis.call('DEL', key)
    return 1
  end
  local group = 'u' .. (string.match(key, '^{.-}:unique:(.*)$') or '')
  if redis.call('ZREM', L.held, group .. '\nxid/' .. job_id) > 0 then limits().advance(L, group) end
  return 0
end
