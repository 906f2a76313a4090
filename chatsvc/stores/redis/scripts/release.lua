-- Give a reply to `nobody`, a node that is always dead, so that any node may take it over.
--
-- KEYS  reply     the reply's hash; `o`, `e` are set
--       leases    the leases of the nodes
--       owned     the prefix of the names of the sets of what a node owns
--       news      the new owner is added to it
-- ARGV  node      the owner until now
--       epoch     the epoch in which it owns the reply
--       reply_id
--       nobody    the name of the new owner
--
-- Returns 'ok', or 'lost' if the reply has its end, is gone, or is another node's or epoch's.
local reply, leases, owned, news = unpack(KEYS)
local node, epoch, reply_id, nobody = unpack(ARGV)

local owner, its_epoch, ended = unpack(redis.call('HMGET', reply, 'o', 'e', 'x'))
if not owner or ended or owner ~= node or its_epoch ~= epoch then return 'lost' end
local next_epoch = tostring(math.floor(its_epoch) + 1)
redis.call('HSET', reply, 'o', nobody, 'e', next_epoch)
redis.call('SREM', owned .. node, reply_id)
redis.call('SADD', owned .. nobody, reply_id)
redis.call('ZADD', leases, 0, nobody)
publish(news, reply_id, next_epoch)
return 'ok'
