-- Return 1 if no node works on an ended reply any more, else 0.
--
-- KEYS  reply     the reply's hash; `o` is read
--       leases    the leases of the nodes
--       owned     the prefix of the names of the sets of what a node owns
-- ARGV  reply_id
local reply, leases, owned = unpack(KEYS)
local reply_id = unpack(ARGV)

local owner = redis.call('HGET', reply, 'o')
if not owner or redis.call('SISMEMBER', owned .. owner, reply_id) == 0 then return 1 end
return is_alive(leases, owner) and 0 or 1
