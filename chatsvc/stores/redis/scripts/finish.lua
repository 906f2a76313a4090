-- Set a reply's end, and let it expire.
--
-- KEYS  reply          the reply's hash; `x` is set, `r` loses the prompt but for the question: it gets what `q` holds
--       stream         the reply's stream; an entry `p`, `b`, `e` is added (see `entries.py`)
--       gone           the mark of an expired id
--       readers        the nodes that have readers of the reply; deleted
--       news           the end is added to it
--       owned          the prefix of the names of the sets of what a node owns
--       running        the prefix of the names of the sets of what runs for an account
-- ARGV  node           the node that sets the end
--       epoch          the epoch in which it owns the reply; empty if any node may set this end (a stop)
--       position       the position up to which the node has written; only with an epoch
--       sides          the number of side units that the node has written; only with an epoch
--       the_end        the end as JSON, without its usage
--       usage          the end's usage as JSON; empty if it has none: then it is the one that was written last
--       keep_ms        milliseconds for which the text is kept
--       remember_ms    milliseconds for which the id is known
--       reply_id
--       still_working  empty if the owner's set and the account's lose the reply now; else the owner removes it
--                      itself, when its producer has ended
--
-- Returns {'ok', id of the entry, position of the text, number of side units, the end as it is set}; {'gone'}, {'ended'}, {'lost'} as
-- `write.lua`; {'torn', position, side units} if the stream has less than the node has written.
local reply, stream, gone, readers, news, owned, running = unpack(KEYS)
local node, epoch, position, sides, the_end, usage, keep_ms, remember_ms, reply_id, still_working = unpack(ARGV)

local owner, its_epoch, ended, written, its_sides, last_usage, account, record =
  unpack(redis.call('HMGET', reply, 'o', 'e', 'x', 'p', 's', 'u', 'a', 'q'))
if not owner then return {'gone'} end
if ended then return {'ended'} end
its_sides = its_sides or '0'
if epoch ~= '' then
  if owner ~= node or its_epoch ~= epoch then return {'lost'} end
  if tonumber(written) < tonumber(position) or tonumber(its_sides) < tonumber(sides) then
    return {'torn', written, its_sides}
  end
end
if usage == '' then usage = last_usage or 'null' end
the_end = string.sub(the_end, 1, -2) .. ',"usage":' .. usage .. '}'
local before = its_sides == '0' and {} or {'b', its_sides}
before[#before + 1] = 'e'
before[#before + 1] = the_end
local id = redis.call('XADD', stream, '*', 'p', written, unpack(before))
local without_prompt = record and record ~= '' and {'r', record, 'q', ''} or {}
redis.call('HSET', reply, 'x', '1', unpack(without_prompt))
redis.call('PEXPIRE', reply, keep_ms)
redis.call('PEXPIRE', stream, keep_ms)
redis.call('SET', gone, '1', 'PX', remember_ms)
redis.call('DEL', readers)
if still_working == '' then
  redis.call('SREM', owned .. owner, reply_id)
  if account then redis.call('SREM', running .. account, reply_id) end
end
publish(news, reply_id)
return {'ok', id, written, its_sides, the_end}
