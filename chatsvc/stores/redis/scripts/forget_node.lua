-- Remove the lease of a dead node, if it owns nothing.
--
-- KEYS  owned   the set of what the node owns
--       leases  the leases of the nodes
-- ARGV  node
local owned, leases = unpack(KEYS)
local node = unpack(ARGV)

if redis.call('SCARD', owned) == 0 and not is_alive(leases, node) then redis.call('ZREM', leases, node) end
