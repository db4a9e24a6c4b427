-- What the scripts that follow share: RQ's own formats, and the watches over payments whose end is not known yet.
--
-- ARGV  1 now, in RQ's format         2 now, in Unix seconds      3 seconds a marker lives (0: for ever)
--       4 RQ's prefix of queues       5 RQ's prefix of jobs       6 RQ's set of queues
--       7 job timeout                 8 result ttl                9 failure ttl    10 retries   11 retry pauses (JSON list)
--      12 queue of questions         13 its registry of scheduled jobs            14 callable that asks about a watch
--      15 prefix of watches          16 RQ's prefix of results
--      17 how many watches may rest on claims                    18 the names of those that do, until they are given up
--      19 key that a call writes which changes nothing, where replicas are waited for ("": they are not)
-- The rest is each script's own, from 20 on. A watch that one of them begins is five arguments: its name ("": none),
-- seconds until it is asked, seconds it lives, its JSON, and "1" where it rests on a claim that anybody can make.

local OWN = 20

-- WAIT looks at what its own connection has written last, and answers at once where that is nothing. So a call that finds
-- all known must write too: a master that has lost its replicas may know what the next master does not.
local function touch()
  if ARGV[19] ~= '' then redis.call('SET', ARGV[19], '1', 'PX', 1000) end
end

local function foreign(key, wanted)
  local found = redis.call('TYPE', key).ok
  return found ~= 'none' and found ~= wanted
end

local function save(id, queue, call, text, status)
  -- The argument's JSON is put between RQ's [callable, instance, args, kwargs] as it is, and not sent twice. RQ takes a
  -- job without a field for its heartbeat for one that is done, and the first heartbeat before its start deletes it.
  redis.call('HSET', ARGV[5] .. id, 'created_at', ARGV[1], 'enqueued_at', ARGV[1], 'origin', queue, 'status', status,
    'description', call, 'data', '["' .. call .. '",null,[' .. text .. '],{}]', 'timeout', ARGV[7],
    'result_ttl', ARGV[8], 'failure_ttl', ARGV[9], 'retries_left', ARGV[10], 'retry_intervals', ARGV[11],
    'last_heartbeat', '')
  redis.call('SADD', ARGV[6], ARGV[4] .. queue)
end

local function enqueue(id, queue, call, text)
  save(id, queue, call, text, 'queued')
  redis.call('RPUSH', ARGV[4] .. queue, id)
end

local function watches_foreign(names)
  if foreign(ARGV[13], 'zset') or foreign(ARGV[18], 'zset') then return true end
  for _, name in ipairs(names) do
    if foreign(ARGV[15] .. name, 'hash') then return true end
  end
  return false
end

local function drop(job)
  -- A job that is not in the registry is running or about to, and finds that the watch is not its own any more.
  if job and redis.call('ZREM', ARGV[13], job) == 1 then redis.call('DEL', ARGV[5] .. job, ARGV[16] .. job) end
end

-- Begin a watch; or begin it anew, where its job is lost, where it rested on a claim and this does not, or by force. What
-- it was told stays. The job's name is new each time, since RQ may still be busy with the last one.
local function begin(watch, force)
  local key, claimed = ARGV[15] .. watch.name, watch.claimed == '1'
  local job = redis.call('HGET', key, 'job')
  if job and redis.call('EXISTS', ARGV[5] .. job) == 1 and not force then
    if claimed or redis.call('HGET', key, 'claimed') ~= '1' then return end
  end
  if claimed then
    redis.call('ZREMRANGEBYSCORE', ARGV[18], '-inf', ARGV[2])
    if redis.call('ZCARD', ARGV[18]) >= tonumber(ARGV[17]) then return end
    redis.call('ZADD', ARGV[18], tonumber(ARGV[2]) + tonumber(watch.lives), watch.name)
  else
    redis.call('ZREM', ARGV[18], watch.name)
  end
  drop(job)
  job = watch.name .. '-ASK-' .. string.gsub(ARGV[2], '%D', '')
  redis.call('HSET', key, 'job', job, 'claimed', watch.claimed)
  redis.call('EXPIRE', key, watch.lives)
  save(job, ARGV[12], ARGV[14], watch.text, 'scheduled')
  redis.call('ZADD', ARGV[13], tonumber(ARGV[2]) + tonumber(watch.after), job)
end

local function finish(name)
  local key = ARGV[15] .. name
  drop(redis.call('HGET', key, 'job'))
  redis.call('DEL', key)
  redis.call('ZREM', ARGV[18], name)
end

-- Remember that a callback told this kind without a mark of its own, so that the API's record of it is no news.
local function tell(name, kind)
  local key = ARGV[15] .. name
  if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, kind, '1') end
end

