-- What the scripts that follow share: RQ's own formats, and the watches over payments whose end is not known yet.
--
-- ARGV  1 now, in RQ's format         2 now, in Unix seconds      3 seconds a marker lives (0: for ever)
--       4 RQ's prefix of queues       5 RQ's prefix of jobs       6 RQ's set of queues
--       7 job timeout                 8 result ttl                9 failure ttl    10 retries   11 retry pauses (JSON list)
--      12 queue of questions         13 its registry of scheduled jobs            14 callable that asks about a watch
--      15 prefix of watches
-- The rest is each script's own, from 16 on.

local OWN = 16

local function foreign(key, wanted)
  local found = redis.call('TYPE', key).ok
  return found ~= 'none' and found ~= wanted
end

local function save(id, queue, call, text, status)
  -- The argument's JSON is put between RQ's [callable, instance, args, kwargs] as it is, and not sent twice.
  redis.call('HSET', ARGV[5] .. id, 'created_at', ARGV[1], 'enqueued_at', ARGV[1], 'origin', queue, 'status', status,
    'description', call, 'data', '["' .. call .. '",null,[' .. text .. '],{}]', 'timeout', ARGV[7],
    'result_ttl', ARGV[8], 'failure_ttl', ARGV[9], 'retries_left', ARGV[10], 'retry_intervals', ARGV[11])
  redis.call('SADD', ARGV[6], ARGV[4] .. queue)
end

local function enqueue(id, queue, call, text)
  save(id, queue, call, text, 'queued')
  redis.call('RPUSH', ARGV[4] .. queue, id)
end

local function watches_foreign(names)
  if foreign(ARGV[13], 'zset') then return true end
  for _, name in ipairs(names) do
    if foreign(ARGV[15] .. name, 'hash') then return true end
  end
  return false
end

-- Begin a watch, unless there is one. The job's name is new each time, since RQ may still be busy with the last one.
local function begin(name, after, lives, text)
  local key = ARGV[15] .. name
  if redis.call('EXISTS', key) == 1 then return end
  local job = name .. '-ASK-' .. string.gsub(ARGV[2], '%D', '')
  redis.call('HSET', key, 'job', job)
  redis.call('EXPIRE', key, lives)
  save(job, ARGV[12], ARGV[14], text, 'scheduled')
  redis.call('ZADD', ARGV[13], tonumber(ARGV[2]) + tonumber(after), job)
end

-- End a watch. A job that is not in the registry is running or about to, and finds the watch gone.
local function finish(name)
  local key = ARGV[15] .. name
  local job = redis.call('HGET', key, 'job')
  if job and redis.call('ZREM', ARGV[13], job) == 1 then redis.call('DEL', ARGV[5] .. job) end
  redis.call('DEL', key)
end

-- Remember that an event of this kind was given out, for an answer of the API may have another fact key.
local function tell(name, kind)
  local key = ARGV[15] .. name
  if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, kind, '1') end
end

