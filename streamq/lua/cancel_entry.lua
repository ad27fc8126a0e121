#!lua flags=allow-oom
-- Ends a cancelled job whose entry was found, unless a worker has it in hand.
--
-- KEYS[1..3] -> lanes high, normal, low   KEYS[4] -> meta (hash)   KEYS[5] -> done (stream)
-- KEYS[6] -> cancels (sorted set)   KEYS[7] -> wake (stream)   KEYS[8] -> delayed (sorted set)
-- KEYS[9..14] -> limits: held, parked, jobs, due, rates, places
-- ARGV[1] -> entry id   ARGV[2] -> job id   ARGV[3] -> its lane (1..3)
-- Allowed while memory is short: it frees some.
-- Returns { 'waiting', uniqueness key to give back ('' = none) } when it has ended now, { 'running', worker },
--   or { 'gone', '' } when the entry is not there any more.
--@include lib/cancel
--@include lib/delay
--@include lib/limits
local lane = tonumber(ARGV[3])
local rows = redis.pcall('XPENDING', KEYS[lane], 'workers', ARGV[1], ARGV[1], 1)
if not rows.err and #rows > 0 then return { 'running', rows[1][2] } end
local found = redis.call('XRANGE', KEYS[lane], ARGV[1], ARGV[1])
if #found == 0 then return { 'gone', '' } end
redis.call('XDEL', KEYS[lane], ARGV[1])
record_cancelled(KEYS[5], KEYS[6], KEYS[4], ARGV[2], field(found[1][2], 'attempt') or '1', 0)
local t = terms(found[1][2])
if t then limits().left_lane(limits_of(9, { KEYS[1], KEYS[2], KEYS[3] }, KEYS[4], KEYS[7], KEYS[8]), t, lane, ARGV[1]) end
return { 'waiting', field(found[1][2], 'unique') or '' }
