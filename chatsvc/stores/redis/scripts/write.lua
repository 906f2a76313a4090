-- Add text to a reply's stream, or that its text is complete, or both in one entry.
--
-- KEYS  reply        the reply's hash; `p`, `c` are set
--       stream       the reply's stream; an entry `p`, `t`, `c` is added (see `entries.py`)
-- ARGV  node         the node that writes
--       epoch        the epoch in which it owns the reply
--       before       the position before the text
--       behind       the position behind the text
--       text         empty if there is none to add
--       planned_end  the end that will follow, as JSON; empty while more text will come
--
-- Returns {'ok', id of the entry}, also the second time; {'gone'} without such a reply, {'ended'} if it has its end,
-- {'lost'} if another node or epoch owns it; {'torn', position} if the stream has text up to another position.
local reply, stream = unpack(KEYS)
local node, epoch, before, behind, text, planned_end = unpack(ARGV)

local owner, its_epoch, position, ended, complete =
  unpack(redis.call('HMGET', reply, 'o', 'e', 'p', 'x', 'c'))
if not owner then return {'gone'} end
if ended then return {'ended'} end
if owner ~= node or its_epoch ~= epoch then return {'lost'} end
local entry = {}
if text ~= '' then entry = {'p', before, 't', text} end
if planned_end ~= '' and not complete then
  entry[#entry + 1] = 'c'
  entry[#entry + 1] = planned_end
end
if position == before and #entry > 0 then
  local id = redis.call('XADD', stream, '*', unpack(entry))
  redis.call('HSET', reply, 'p', behind)
  if planned_end ~= '' then redis.call('HSET', reply, 'c', '1') end
  return {'ok', id}
end
if position ~= behind then return {'torn', position} end
-- This is the second run: the last entry is that of the first.
return {'ok', redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1][1]}
