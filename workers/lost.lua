-- Where is a job, and back into its queue where it is nowhere. In one step, so that no job is in a list twice.
--
-- KEYS  1 the lease                  2 the job                  3 its queue's list         4 the intermediate list
--       5 registry of started jobs   6 of scheduled ones        7 of failed ones           8 lock of RQ's own cleaning
--       9 the job's executions
-- ARGV  1 the keeper's token         2 the job's id             3 "back", or "" to look only
--       4 prefix of executions       5 of workers               6 of their channels
--       7 milliseconds that a worker's key has left at least while heartbeats come
--       8 how often a job may be lost before it is left to a person, and 9 what that person is told
--
-- Returns 0 where nothing is to be done: it waits, runs, or has ended; 1 it is lost, or was and is back; 2 it is not
-- lost and was left in RQ's intermediate list, or is out of it; 3 it was lost too often and has failed; 4 RQ cleans up
-- at this moment, and might bring it back too.

-- A worker that was killed is still there, by its keys, for one or two minutes. Its subscription ends with the process
-- (its work horse has a share in it); but a worker may also lose only that, so the heartbeat must be late as well.
local function runs()
  for _, execution in ipairs(redis.call('ZRANGE', KEYS[9], 0, -1)) do
    local key = ARGV[4] .. ARGV[2] .. ':' .. execution
    if redis.call('EXISTS', key) == 1 then
      local worker = redis.call('HGET', key, 'worker_name')
      if not worker or worker == '' then return true end
      local left = redis.call('PTTL', ARGV[5] .. worker)
      if left == -1 or left >= tonumber(ARGV[7]) then return true end
      if left >= 0 and redis.call('HEXISTS', ARGV[5] .. worker, 'death') == 0 and
        redis.call('PUBSUB', 'NUMSUB', ARGV[6] .. worker)[2] > 0 then return true end
    end
  end
  return false
end

local known = redis.call('HMGET', KEYS[2], 'status', 'data')
local status = known[1]
local waits = known[2] and (status == 'queued' or status == 'started' or status == 'scheduled')
local lost = false
if waits then
  if runs() then return 0 end
  lost = not (redis.call('ZSCORE', KEYS[6], ARGV[2]) or redis.call('LPOS', KEYS[3], ARGV[2]))
end
if not lost and not redis.call('LPOS', KEYS[4], ARGV[2]) then return 0 end
if ARGV[3] ~= 'back' then return lost and 1 or 2 end
if redis.call('EXISTS', KEYS[8]) == 1 then return 4 end

redis.call('LREM', KEYS[4], 0, ARGV[2])
redis.call('DEL', KEYS[4] .. ':first_seen:' .. ARGV[2]) -- or RQ would take its next turn for one that lasts long
if not lost then return 2 end
for _, entry in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
  if string.sub(entry, 1, #ARGV[2] + 1) == ARGV[2] .. ':' then redis.call('ZREM', KEYS[5], entry) end
end
if redis.call('HINCRBY', KEYS[2], 'ulak_lost', 1) > tonumber(ARGV[8]) then
  local keep = tonumber(redis.call('HGET', KEYS[2], 'failure_ttl') or '') or 31536000
  redis.call('HSET', KEYS[2], 'status', 'failed', 'exc_info', ARGV[9])
  redis.call('EXPIRE', KEYS[2], keep)
  redis.call('ZADD', KEYS[7], redis.call('TIME')[1] + keep, ARGV[2])
  return 3
end
-- At the front, and with the time it was enqueued at first: its turn had come.
redis.call('HSET', KEYS[2], 'status', 'queued')
redis.call('LPUSH', KEYS[3], ARGV[2])
return 1
