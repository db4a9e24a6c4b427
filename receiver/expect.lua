-- Keep what the shop announced, and begin to ask for it where the provider can be asked.
--
-- KEYS  1 the order's key   2 full flag
-- ARGV  those of jobs.lua, then minor units, currency, deadline, time of the announcement, seconds to keep it, a watch
--
-- Returns 0 announced, 1 the same was announced before, 2 announced anew with another amount or deadline, 3 it is paid
-- and so stays as it was; -1 the full flag is set, -2 a key has a foreign type.

if redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
local minor, currency, deadline, at, keep = unpack(ARGV, OWN, OWN + 4)
local watch = {}
watch.name, watch.after, watch.lives, watch.text, watch.claimed = unpack(ARGV, OWN + 5)
if foreign(KEYS[1], 'hash') or foreign(ARGV[6], 'set') then return -2 end
if watch.name ~= '' and watches_foreign({watch.name}) then return -2 end

local known = redis.call('HMGET', KEYS[1], 'minor', 'currency', 'deadline', 'taken')
local same = known[1] == minor and known[2] == currency
if known[4] then
  touch()
  return same and 1 or 3
end
local changed = not (same and known[3] == deadline)
if changed then
  redis.call('HSET', KEYS[1], 'minor', minor, 'currency', currency, 'deadline', deadline, 'announced_at', at)
  redis.call('EXPIRE', KEYS[1], keep)
end
-- The last watch may have ended without a payment; one that is there knows the old deadline.
if watch.name ~= '' then begin(watch, changed) end
if not changed then
  touch()
  return 1
end
return known[1] and 2 or 0
