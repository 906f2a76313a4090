-- Make a node the owner of a reply whose owner is dead.
--
-- KEYS  reply     the reply's hash; `o`, `e` are set
--       leases    the leases of the nodes
--       owned     the prefix of the names of the sets of what a node owns
--       news      the new owner is added to it
--       running   the prefix of the names of the sets of what runs for an account
-- ARGV  node      the new owner
--       reply_id
--
-- Returns {epoch, position of the text, number of side units, the account's digest or ''}, also when the node is the
-- owner already; nothing if the owner lives, or the reply has its end or is gone; {} for an end that was in the set of
-- an owner until this call.
local reply, leases, owned, news, running = unpack(KEYS)
local node, reply_id = unpack(ARGV)

local owner, epoch, position, ended, sides, account = unpack(redis.call('HMGET', reply, 'o', 'e', 'p', 'x', 's', 'a'))
if not owner then return false end
sides, account = sides or '0', account or ''
if ended then
  if account ~= '' then redis.call('SREM', running .. account, reply_id) end
  return redis.call('SREM', owned .. owner, reply_id) > 0 and {}
end
if owner == node then return {epoch, position, sides, account} end
if is_alive(leases, owner) then return false end
local next_epoch = tostring(math.floor(epoch) + 1)
redis.call('HSET', reply, 'o', node, 'e', next_epoch)
redis.call('SREM', owned .. owner, reply_id)
redis.call('SADD', owned .. node, reply_id)
ensure_lease(leases, node)
publish(news, reply_id, next_epoch)
return {next_epoch, position, sides, account}
