-- Create a reply, unless there is one with this id already, or there was one, or a limit is reached.
--
-- KEYS  reply       the reply's hash; its fields `r`, `q`, `o`, `e`, `p`, `at`, `a` are set (see `entries.py`)
--       gone        the mark of an expired id
--       owned       the prefix of the names of the sets of what a node owns
--       leases      the leases of the nodes
--       running     the set of the account's running replies
--       starts      what the account has started within the last minute
-- ARGV  record      the record as JSON
--       node        the owner
--       reply_id
--       created_us  the time of the owner's clock; it tells a second run from another reply
--       context     what goes into the field `h`, or ''
--       note        what goes into the field `n`, or ''
--       account     the account's digest, which goes into the field `a`; or '' to count for none
--       most_running  of the account; '0' is no limit
--       most_starts   of the account; '0' is no limit
--       most_in_all   of all accounts; '0' is no limit
--       elsewhere   how many replies run that have other hash tags
--       ended       what goes into the field `q`: the record for the time after the end
--
-- Returns {'ok'} or {'known'}; {'full'}, {'running'} or {'starts', milliseconds to wait} for a limit.
local reply, gone, owned, leases, running, starts = unpack(KEYS)
local record, node, reply_id, created_us, context, note, account, most_running, most_starts, most_in_all, elsewhere, ended = unpack(ARGV)

local SLOT_MS, SLOTS, LOOKED_AT, KEPT_MS = 5000, 12, 16, 24 * 3600 * 1000

local owner, at = unpack(redis.call('HMGET', reply, 'o', 'at'))
if owner == node and at == created_us then return {'ok'} end
if owner or redis.call('EXISTS', gone) > 0 then return {'known'} end

if most_in_all ~= '0' then
  if tonumber(elsewhere) + count_running(leases, owned) >= tonumber(most_in_all) then return {'full'} end
end

-- A reply is left in the set when Redis has lost its hash, or a node of an earlier version has ended it. Some are
-- looked at whenever the limit is reached, so that none stays for good.
most_running = tonumber(most_running)
if account ~= '' and most_running > 0 and redis.call('SCARD', running) >= most_running then
  local prefix = string.sub(reply, 1, -1 - #reply_id)
  for _, id in ipairs(redis.call('SRANDMEMBER', running, LOOKED_AT)) do
    local its_owner = redis.call('HGET', prefix .. id, 'o')
    if not its_owner or redis.call('SISMEMBER', owned .. its_owner, id) == 0 then redis.call('SREM', running, id) end
  end
  if redis.call('SCARD', running) >= most_running then return {'running'} end
end

-- The slots of `chatsvc.replies.starts`, as one string: `slot:starts` for each that counts, the oldest first.
most_starts = tonumber(most_starts)
if account ~= '' and most_starts > 0 then
  local now = now_ms()
  local this = math.floor(now / SLOT_MS)
  local slots, count = {}, 0
  for slot, number in string.gmatch(redis.call('GET', starts) or '', '(%d+):(%d+)') do
    slot, number = tonumber(slot), tonumber(number)
    if slot >= this - SLOTS then
      slots[#slots + 1] = {slot, number}
      count = count + number
    end
  end
  local too_many = count - most_starts + 1
  for _, each in ipairs(slots) do
    if too_many <= 0 then break end
    too_many = too_many - each[2]
    if too_many <= 0 then return {'starts', (each[1] + SLOTS + 1) * SLOT_MS - now} end
  end
  if #slots == 0 or slots[#slots][1] < this then slots[#slots + 1] = {this, 0} end
  slots[#slots][2] = slots[#slots][2] + 1
  local words = {}
  for i, each in ipairs(slots) do words[i] = string.format('%d:%d', each[1], each[2]) end
  redis.call('SET', starts, table.concat(words, ' '), 'PX', (SLOTS + 1) * SLOT_MS)
end

redis.call('HSET', reply, 'r', record, 'q', ended, 'o', node, 'e', '1', 'p', '0', 'at', created_us)
if context ~= '' then redis.call('HSET', reply, 'h', context) end
if note ~= '' then redis.call('HSET', reply, 'n', note) end
if account ~= '' then
  redis.call('HSET', reply, 'a', account)
  redis.call('SADD', running, reply_id)
  redis.call('PEXPIRE', running, KEPT_MS)
end
redis.call('SADD', owned .. node, reply_id)
ensure_lease(leases, node)
return {'ok'}
