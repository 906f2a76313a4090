-- Functions that several scripts use: `scripts.py` puts this text before that of each script.

-- Return the time of this Redis (milliseconds since 1970).
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Return whether a node's lease has not run out.
local function is_alive(leases, node)
  local lease = redis.call('ZSCORE', leases, node)
  return lease and tonumber(lease) > now_ms()
end

-- Give a node that has no lease one of a second: it was forgotten, because it was silent and owned nothing,
-- and now that it owns something the others must find it if it dies.
local function ensure_lease(leases, node)
  redis.call('ZADD', leases, 'NX', now_ms() + 1000, node)
end

-- Add to the news that a reply has its end, or (with an epoch) a new owner. Fields `n`, `r`, `o`: see `entries.py`.
local function publish(news, reply_id, epoch)
  local last = redis.call('XREVRANGE', news, '+', '-', 'COUNT', 1)[1]
  local number = last and last[2][2] + 1 or 1
  local owner = epoch and {'o', epoch} or {}
  redis.call('XADD', news, 'MAXLEN', '~', 4096, '*', 'n', number, 'r', reply_id, unpack(owner))
end

-- Return how many replies run on all nodes: each, also that of a dead node, is in the set of a node that has a lease.
local function count_running(leases, owned)
  local count = 0
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', '+inf')) do
    count = count + redis.call('SCARD', owned .. node)
  end
  return count
end

