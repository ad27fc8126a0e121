#!lua flags=allow-oom
-- Asks a worker to do something: it is told with its next heartbeat, once.
--
-- KEYS[1] -> workers (hash)   KEYS[2] -> orders (hash)
-- ARGV[1] -> worker   ARGV[2] -> verb and id of the order, a space between   ARGV[3] -> orders that may wait
-- Allowed while memory is short: then is when people steer by hand.
-- Returns 1, or 0 when the worker is not on the list, or does not hear and its box is full.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local waiting = redis.call('HGET', KEYS[2], ARGV[1])
local _, count = string.gsub(waiting or '', '[^\n]+', '')
if count >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], waiting and waiting .. '\n' .. ARGV[2] or ARGV[2])
return 1
