-- Could a callback be written now? Writes as one would be, and nothing that stays.
--
-- KEYS  1 full flag   2 a key of our own
--
-- Returns 0 yes, -1 the full flag is set; whatever else stands in the way is Redis's own error.

if redis.call('EXISTS', KEYS[1]) == 1 then return -1 end
redis.call('SET', KEYS[2], '1', 'PX', 1000)
return 0
