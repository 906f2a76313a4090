-- Renew a node's lease, and find the leases that have run out.
--
-- KEYS  leases  the leases of the nodes
-- ARGV  node
--       until_ms  the time at which the lease runs out (milliseconds since 1970)
--       now_ms    the time up to which leases have run out
--
-- Returns {the time at which the node's lease ran out before this call, or '' if it had none; the nodes whose leases
-- have run out …}.
local leases = unpack(KEYS)
local node, until_ms, now_ms = unpack(ARGV)

local before = redis.call('ZSCORE', leases, node) or ''
redis.call('ZADD', leases, until_ms, node)
return {before, unpack(redis.call('ZRANGEBYSCORE', leases, 0, now_ms))}
