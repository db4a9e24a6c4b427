-- Dedupe, record and enqueue, in one step. Lua does not roll back: every check comes before the first write, and the
-- marker is written last, so that a failure in between leaves no fact that is known and nowhere.
--
-- KEYS  1 stream of released events   2 stream of held events   3 full flag   4 RQ's set of queues
-- ARGV  1 now, in RQ's format         2 seconds a marker lives (0: for ever)
--       3 RQ's prefix of queues       4 RQ's prefix of jobs
--       5 job timeout                 6 result ttl          7 failure ttl     8 retries     9 retry pauses (JSON list)
--      10 number of events; then for each event
--         marker key, mode ("new": a callback; "hold": a callback that waits for confirmation, and its only job is to
--         ask; "release": a held fact, now confirmed), event (JSON), routes (JSON list of names), sealed request,
--         number of jobs; then for each job
--         job id, queue name, dotted name of the callable
--
-- Returns a list with one number an event: 0 done, 1 was released before, 2 is held already, 3 to be released and not
-- held.
-- Or a single number: -1 the full flag is set, -2 a key has a foreign type.

local function foreign(key, wanted)
  local found = redis.call('TYPE', key).ok
  return found ~= 'none' and found ~= wanted
end

if redis.call('EXISTS', KEYS[3]) == 1 then return -1 end
if foreign(KEYS[1], 'stream') or foreign(KEYS[4], 'set') then return -2 end

local events, states, seen, at = {}, {}, {}, 11
for i = 1, tonumber(ARGV[10]) do
  local event = {marker = ARGV[at], mode = ARGV[at + 1], text = ARGV[at + 2], routes = ARGV[at + 3],
                 request = ARGV[at + 4], jobs = {}}
  local jobs = tonumber(ARGV[at + 5])
  at = at + 6
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
    local job = {id = ARGV[at], key = ARGV[4] .. ARGV[at], queue = ARGV[at + 1], call = ARGV[at + 2]}
    at = at + 3
    if foreign(ARGV[3] .. job.queue, 'list') then return -2 end
    local there = redis.call('TYPE', job.key).ok
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
  if event.mode == 'hold' and foreign(KEYS[2], 'stream') then return -2 end
  if state == 0 then
    seen[event.marker] = event.mode == 'hold' and 'held' or 'released'
  end
  events[i], states[i] = event, state
end

local function mark(marker, state)
  if state == 'held' or ARGV[2] == '0' then
    redis.call('SET', marker, state)
  else
    redis.call('SET', marker, state, 'EX', ARGV[2])
  end
end

local function enqueue(job, text)
  local queue = ARGV[3] .. job.queue
  -- The event's JSON is put between RQ's [callable, instance, args, kwargs] as it is, and not sent twice.
  redis.call('HSET', job.key, 'created_at', ARGV[1], 'enqueued_at', ARGV[1], 'origin', job.queue, 'status', 'queued',
    'description', job.call, 'data', '["' .. job.call .. '",null,[' .. text .. '],{}]', 'timeout', ARGV[5],
    'result_ttl', ARGV[6], 'failure_ttl', ARGV[7], 'retries_left', ARGV[8], 'retry_intervals', ARGV[9])
  redis.call('SADD', KEYS[4], queue)
  redis.call('RPUSH', queue, job.id)
end

for i, event in ipairs(events) do
  if states[i] == 0 then
    local held = event.mode == 'hold'
    redis.call('XADD', held and KEYS[2] or KEYS[1], '*', 'event', event.text, 'routes', event.routes, 'request',
      event.request)
    for _, job in ipairs(event.jobs) do enqueue(job, event.text) end
    mark(event.marker, held and 'held' or 'released')
  elseif event.revive then
    mark(event.marker, 'released')
  elseif event.lost then
    for _, job in ipairs(event.jobs) do enqueue(job, event.text) end
  end
end
return states
