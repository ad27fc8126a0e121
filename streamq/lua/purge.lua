-- Deletes dead letters.
--
-- KEYS[1] -> dead (stream)   KEYS[2] -> meta (hash)
-- ARGV[1..] -> entry ids
-- Returns how many there were.
local gone = redis.call('XDEL', KEYS[1], unpack(ARGV))
if gone > 0 then redis.call('HINCRBY', KEYS[2], 'purged', gone) end
return gone
