-- Keep an unreadable callback once. No fact marker is set, so that a good copy of it passes later.
--
-- KEYS  1 mark of this body   2 stream   3 full flag
-- ARGV  those of jobs.lua, then a watch; then field, value, field, value, ... of the entry
--
-- Returns 0 kept, 1 known already, -1 the full flag is set, -2 a key has a foreign type.

if redis.call('EXISTS', KEYS[3]) == 1 then return -1 end
if redis.call('EXISTS', KEYS[1]) == 1 then
  touch()
  return 1
end
local watch = {}
watch.name, watch.after, watch.lives, watch.text, watch.claimed = unpack(ARGV, OWN, OWN + 4)
if watch.name ~= '' and (watches_foreign({watch.name}) or foreign(ARGV[6], 'set')) then return -2 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, OWN + 5))
if watch.name ~= '' then begin(watch, false) end
if ARGV[3] == '0' then
  redis.call('SET', KEYS[1], '1')
else
  redis.call('SET', KEYS[1], '1', 'EX', ARGV[3])
end
return 0
