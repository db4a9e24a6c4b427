-- Keep an unreadable callback once. No fact marker is set, so that a good copy of it passes later.
--
-- KEYS  1 mark of this body   2 stream   3 full flag
-- ARGV  1 seconds the mark lives (0: for ever); then field, value, field, value, ... of the entry
--
-- Returns 0 kept, 1 known already, -1 the full flag is set.

if redis.call('EXISTS', KEYS[3]) == 1 then return -1 end
if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 2))
if ARGV[1] == '0' then
  redis.call('SET', KEYS[1], '1')
else
  redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
end
return 0
