-- Dedupe, record and enqueue, in one step. Lua does not roll back: every check comes before the first write, and the
-- marker is written last, so that a failure in between leaves no fact that is known and nowhere.
--
-- KEYS  1 stream of released events   2 stream of held events   3 full flag
-- ARGV  those of jobs.lua, then the number of events, then for each event
--         marker key, mode ("new": a callback; "hold": a callback that waits for confirmation, and its only job is to
--         ask; "release": a held fact, now confirmed), kind, event (JSON), routes (JSON list of names), sealed request,
--         number of jobs; then for each job
--           job id, queue name, dotted name of the callable
--         mark of the payment's state ("": none), and who tells it, "callback" or "api": of two keys for one state of
--         one payment the first counts, unless two callbacks tell it
--         key of what the shop announced ("": nothing), what it was when it was read, who takes it now ("": nobody)
--         number of watches that it ends, their names; number of watches that are told of it, their names; a watch
--
-- Returns a list with one number an event: 0 done, 1 was released before, 2 is held already, 3 to be released and not
-- held.
-- Or a single number: -1 the full flag is set, -2 a key has a foreign type, -3 the announcement has changed, or who took
-- it.

if redis.call('EXISTS', KEYS[3]) == 1 then return -1 end
if foreign(KEYS[1], 'stream') or foreign(ARGV[6], 'set') then return -2 end

local at = OWN
local function take(count)
  local found = {}
  for i = 1, count do found[i] = ARGV[at + i - 1] end
  at = at + count
  return unpack(found)
end
local function take_list()
  local count = tonumber((take(1)))
  return {take(count)}
end

local events, states, seen = {}, {}, {}
for i = 1, tonumber((take(1))) do
  local event = {jobs = {}}
  event.marker, event.mode, event.kind, event.text, event.routes, event.request = take(6)
  local jobs = tonumber((take(1)))
  -- A marker of a foreign type is an error of GET itself, and nothing is written yet.
  local known = seen[event.marker] or redis.call('GET', event.marker)
  local state = 0
  if known == 'released' then
    state = 1
  elseif event.mode == 'release' then
    if known ~= 'held' then state = 3 end
  elseif known then
    state = 2
  end
  for j = 1, jobs do
    local job = {}
    job.id, job.queue, job.call = take(3)
    if foreign(ARGV[4] .. job.queue, 'list') then return -2 end
    local there = redis.call('TYPE', ARGV[5] .. job.id).ok
    if there == 'hash' then
      -- The marker has expired and the job is still there: the fact is known all the same.
      if event.mode == 'new' and state == 0 then state, event.revive = 1, true end
    elseif there ~= 'none' then
      return -2
    elseif state == 2 and event.mode == 'hold' then
      event.lost = true -- the question was lost: a redelivery asks it again
    end
    event.jobs[j] = job
  end
  event.state, event.teller, event.order, event.read, event.takes = take(5)
  event.ended, event.told = take_list(), take_list()
  local watch = {}
  watch.name, watch.after, watch.lives, watch.text, watch.claimed = take(5)
  event.watch = watch
  if state == 0 and event.state ~= '' then
    local teller = redis.call('GET', event.state)
    -- Known by the mark, and the fact's own marker stays as it was; but what was held waits no more.
    if teller and (teller ~= event.teller or teller == 'api') then state, event.revive = 1, event.mode == 'release' end
  end
  if event.mode == 'hold' and foreign(KEYS[2], 'stream') then return -2 end
  if state == 0 then
    if event.order ~= '' then
      local now = redis.call('HMGET', event.order, 'minor', 'currency', 'taken')
      if (now[1] or '') .. ' ' .. (now[2] or '') .. ' ' .. (now[3] or '') ~= event.read then return -3 end
    end
    if watch.name ~= '' or #event.ended + #event.told > 0 then
      if watches_foreign(event.ended) or watches_foreign(event.told) or watches_foreign({watch.name}) then return -2 end
    end
    seen[event.marker] = event.mode == 'hold' and 'held' or 'released'
  end
  events[i], states[i] = event, state
end

local function mark(marker, state)
  if state == 'held' or ARGV[3] == '0' then
    redis.call('SET', marker, state)
  else
    redis.call('SET', marker, state, 'EX', ARGV[3])
  end
end

local function enqueue_all(event)
  for _, job in ipairs(event.jobs) do enqueue(job.id, job.queue, job.call, event.text) end
end

local changed = false
for i, event in ipairs(events) do
  changed = changed or states[i] == 0 or event.revive or event.lost
  if states[i] == 0 then
    local held = event.mode == 'hold'
    redis.call('XADD', held and KEYS[2] or KEYS[1], '*', 'event', event.text, 'routes', event.routes, 'request',
      event.request)
    enqueue_all(event)
    if event.takes ~= '' then redis.call('HSET', event.order, 'taken', event.takes) end
    for _, name in ipairs(event.ended) do finish(name) end
    if event.watch.name ~= '' then begin(event.watch, false) end
    for _, name in ipairs(event.told) do tell(name, event.kind) end
    if event.state ~= '' then mark(event.state, event.teller) end
    mark(event.marker, held and 'held' or 'released')
  elseif event.revive then
    mark(event.marker, 'released')
  elseif event.lost then
    enqueue_all(event)
  end
end
if not changed then touch() end
return states
