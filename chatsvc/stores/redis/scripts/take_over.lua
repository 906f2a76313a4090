-- Make a node the owner of a reply whose owner is dead.
--
-- KEYS  reply     the reply's hash; `o`, `e` are set
--       leases    the leases of the nodes
--       owned     the prefix of the names of the sets of what a node owns
--       news      the new owner is added to it
-- ARGV  node      the new owner
--       reply_id
--
-- Returns {epoch, position of the text, number of side units}, also when the node is the owner already; nothing if the
-- owner lives, or the reply has its end or is gone.
local reply, leases, owned, news = unpack(KEYS)
local node, reply_id = unpack(ARGV)

local owner, epoch, position, ended, sides = unpack(redis.call('HMGET', reply, 'o', 'e', 'p', 'x', 's'))
if not owner then return false end
sides = sides or '0'
if ended then
  redis.call('SREM', owned .. owner, reply_id)
  return false
end
if owner == node then return {epoch, position, sides} end
if is_alive(leases, owner) then return false end
local next_epoch = tostring(math.floor(epoch) + 1)
redis.call('HSET', reply, 'o', node, 'e', next_epoch)
redis.call('SREM', owned .. owner, reply_id)
redis.call('SADD', owned .. node, reply_id)
ensure_lease(leases, node)
publish(news, reply_id, next_epoch)
return {next_epoch, position, sides}
