-- Create a reply, unless there is one with this id already, or there was one.
--
-- KEYS  reply       the reply's hash; its fields `r`, `q`, `o`, `e`, `p`, `at` are set (see `entries.py`)
--       gone        the mark of an expired id
--       owned       the set of what the node owns
--       leases      the leases of the nodes
-- ARGV  record      the record as JSON
--       node        the owner
--       reply_id
--       created_us  the time of the owner's clock; it tells a second run from another reply
--       context     what goes into the field `h`, or ''
--       note        what goes into the field `n`, or ''
--       ended       what goes into the field `q`: the record for the time after the end
--
-- Returns 'ok', or 'known'.
local reply, gone, owned, leases = unpack(KEYS)
local record, node, reply_id, created_us, context, note, ended = unpack(ARGV)

local owner, at = unpack(redis.call('HMGET', reply, 'o', 'at'))
if owner == node and at == created_us then return 'ok' end
if owner or redis.call('EXISTS', gone) > 0 then return 'known' end
redis.call('HSET', reply, 'r', record, 'q', ended, 'o', node, 'e', '1', 'p', '0', 'at', created_us)
if context ~= '' then redis.call('HSET', reply, 'h', context) end
if note ~= '' then redis.call('HSET', reply, 'n', note) end
redis.call('SADD', owned, reply_id)
ensure_lease(leases, node)
return 'ok'
