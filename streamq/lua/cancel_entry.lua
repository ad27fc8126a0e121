#!lua flags=allow-oom
-- Ends a cancelled job whose entry was found, unless a worker has it in hand.
--
-- KEYS[1] -> its lane   KEYS[2] -> meta (hash)   KEYS[3] -> done (stream)   KEYS[4] -> cancels (sorted set)
-- ARGV[1] -> entry id   ARGV[2] -> job id
-- Allowed while memory is short: it frees some.
-- Returns { 'waiting', uniqueness key to give back ('' = none) } when it has ended now, { 'running', worker },
--   or { 'gone', '' } when the entry is not there any more.
--@include lib/cancel
local rows = redis.pcall('XPENDING', KEYS[1], 'workers', ARGV[1], ARGV[1], 1)
if not rows.err and #rows > 0 then return { 'running', rows[1][2] } end
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return { 'gone', '' } end
redis.call('XDEL', KEYS[1], ARGV[1])
record_cancelled(KEYS[3], KEYS[4], KEYS[2], ARGV[2], field(found[1][2], 'attempt') or '1', 0)
return { 'waiting', field(found[1][2], 'unique') or '' }
