-- Return how many replies of a hash tag run on all nodes.
--
-- KEYS  leases  the leases of the nodes
--       owned   the prefix of the names of the sets of what a node owns
local leases, owned = unpack(KEYS)

return count_running(leases, owned)
