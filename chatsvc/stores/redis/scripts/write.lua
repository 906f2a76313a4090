-- Add text and side units to the streams of some replies, or that their text is complete, or both; and what they have used
-- so far. Each reply is written as if it came alone: what is refused or fails of one changes nothing for the others.
--
-- KEYS  in a Cluster the hashes and streams of all the replies, for it refuses to run where it has but some of them, while
--       it moves them. Otherwise none: their names follow from `prefix`
-- ARGV  prefix  what the names of the replies' hashes begin with. Of a hash `p`, `s`, `c`, `u` are set; to the stream, whose
--               name has `:log` behind that, the entries are added, `c` with the last (see `entries.py`)
--       node    the node that writes
--       writes  an array as MessagePack. It has for each reply how many elements follow of it, and these, strings:
--                 reply_id
--                 epoch         the epoch in which the node owns the reply
--                 before        the position before the first entry
--                 behind        the position behind the last
--                 sides_before  the number of side units before the first entry
--                 sides_behind  the number of side units behind the last
--                 planned_end   the end that will follow, as JSON; empty while more text will come
--                 usage         what the reply has used so far, as JSON; empty if that is not known, or as it was
--                 then for each entry how many elements it has (a number), and its fields with their values
--
-- Returns a line of words for each reply: `ok` and the ids of the entries, also the second time; `gone` without such a
-- reply, `ended` if it has its end, `lost` if another node or epoch owns it; `torn`, position and side units if the stream
-- has other units than those before; `error` if Redis has refused a command. If that is so for all, it is the answer.
local prefix, node, writes = unpack(ARGV)

-- One array, and local names: Lua takes as long to make a table for each reply, or for each entry, as to write it.
local call, words = redis.call, cmsgpack.unpack(writes)

-- Write to the reply whose elements stand from `at` to `last`, and return its line of the answer.
local function write(at, last)
  local reply_id, epoch, before, behind, sides_before, sides_behind, planned_end, usage = unpack(words, at, at + 7)
  local reply = prefix .. reply_id
  local stream = reply .. ':log'
  local found = call('HMGET', reply, 'o', 'e', 'p', 'x', 's')
  local owner, its_epoch, position, ended, sides = found[1], found[2], found[3], found[4], found[5] or '0'
  if not owner then return 'gone' end
  if ended then return 'ended' end
  if owner ~= node or its_epoch ~= epoch then return 'lost' end
  at = at + 8
  local has_entries, completes = at <= last, planned_end ~= '' and not call('HGET', reply, 'c')
  local answer = 'ok'
  if position == before and sides == sides_before and (has_entries or completes) then
    while at <= last do
      local next_at = at + 1 + words[at]
      if completes and next_at > last then break end
      answer = answer .. ' ' .. call('XADD', stream, '*', unpack(words, at + 1, next_at - 1))
      at = next_at
    end
    if completes then
      local entry = {unpack(words, at + 1, last)}
      entry[#entry + 1] = 'c'
      entry[#entry + 1] = planned_end
      answer = answer .. ' ' .. call('XADD', stream, '*', unpack(entry))
    end
    call('HSET', reply, 'p', behind)
    if sides_behind ~= sides then call('HSET', reply, 's', sides_behind) end
    if planned_end ~= '' then call('HSET', reply, 'c', '1') end
    if usage ~= '' then call('HSET', reply, 'u', usage) end
    return answer
  end
  if position ~= behind or sides ~= sides_behind then return 'torn ' .. position .. ' ' .. sides end
  -- This is the second run: the last entries are those of the first.
  local count = has_entries and 0 or 1
  while at <= last do
    count = count + 1
    at = at + 1 + words[at]
  end
  local added = call('XREVRANGE', stream, '+', '-', 'COUNT', count)
  for i = #added, 1, -1 do answer = answer .. ' ' .. added[i][1] end
  return answer
end

local answers, failed, first_error, at = {}, 0, nil, 1
while words[at] do
  local last = at + words[at]
  local done, answer = pcall(write, at + 1, last)
  if not done then
    failed = failed + 1
    first_error = first_error or answer
    answer = 'error'
  end
  answers[#answers + 1] = answer
  at = last + 1
end
if failed == #answers then error(first_error, 0) end
return table.concat(answers, '\n')
