-- Takes the mark of a cancelled job away that is nowhere.
--
-- KEYS[1] -> cancels (sorted set)   KEYS[2] -> meta (hash)
-- ARGV[1] -> job id
-- Returns 1, or 0 when there was none any more: somebody has met the job and ended it.
--@include lib/cancel
return unmark(KEYS[1], KEYS[2], ARGV[1])
