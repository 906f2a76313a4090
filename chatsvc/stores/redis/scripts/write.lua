-- Add text and side units to a reply's stream, or that its text is complete, or both; and what it has used so far.
--
-- KEYS  reply         the reply's hash; `p`, `s`, `c`, `u` are set
--       stream        the reply's stream; the entries are added, `c` with the last (see `entries.py`)
-- ARGV  node          the node that writes
--       epoch         the epoch in which it owns the reply
--       before        the position before the first entry
--       behind        the position behind the last
--       sides_before  the number of side units before the first entry
--       sides_behind  the number of side units behind the last
--       planned_end   the end that will follow, as JSON; empty while more text will come
--       usage         what the reply has used so far, as JSON; empty if that is not known, or as it was
--       then for each entry how many words it has, and its fields with their values
--
-- Returns {'ok', ids of the entries}, also the second time; {'gone'} without such a reply, {'ended'} if it has its end,
-- {'lost'} if another node or epoch owns it; {'torn', position, side units} if the stream has other units than those
-- before.
local reply, stream = unpack(KEYS)
local node, epoch, before, behind, sides_before, sides_behind, planned_end, usage = unpack(ARGV, 1, 8)

local owner, its_epoch, position, ended, complete, sides =
  unpack(redis.call('HMGET', reply, 'o', 'e', 'p', 'x', 'c', 's'))
if not owner then return {'gone'} end
if ended then return {'ended'} end
if owner ~= node or its_epoch ~= epoch then return {'lost'} end
sides = sides or '0'
local entries = {}
local at = 9
while ARGV[at] do
  local words = tonumber(ARGV[at])
  entries[#entries + 1] = {unpack(ARGV, at + 1, at + words)}
  at = at + 1 + words
end
local count = #entries
if planned_end ~= '' then
  count = math.max(count, 1)
  if not complete then
    local last = entries[count] or {}
    last[#last + 1] = 'c'
    last[#last + 1] = planned_end
    entries[count] = last
  end
end
if position == before and sides == sides_before and #entries > 0 then
  local answer = {'ok'}
  for _, entry in ipairs(entries) do answer[#answer + 1] = redis.call('XADD', stream, '*', unpack(entry)) end
  redis.call('HSET', reply, 'p', behind)
  if sides_behind ~= '0' then redis.call('HSET', reply, 's', sides_behind) end
  if planned_end ~= '' then redis.call('HSET', reply, 'c', '1') end
  if usage ~= '' then redis.call('HSET', reply, 'u', usage) end
  return answer
end
if position ~= behind or sides ~= sides_behind then return {'torn', position, sides} end
-- This is the second run: the last entries are those of the first.
local answer = {'ok'}
local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', count)
for i = #last, 1, -1 do answer[#answer + 1] = last[i][1] end
return answer
