-- Note for some replies that a node has readers, or has none any more. A note of the node with a later time is kept as
-- it is; a reply that has its end, or is gone, is left out.
--
-- KEYS  the hashes of the readers of the replies; the node's field is set to the time and the sign
-- ARGV  node
--       time_us  the time of the node's clock (microseconds)
--       sign     '+' if it has readers, '-' if it has none any more
--       then the hashes of the replies, in the order of KEYS; `o`, `x` are read (see `entries.py`)
local node, time_us, sign = unpack(ARGV)

for i, readers in ipairs(KEYS) do
  local owner, ended = unpack(redis.call('HMGET', ARGV[3 + i], 'o', 'x'))
  local before = redis.call('HGET', readers, node)
  local later = before and tonumber(string.match(before, '%d+')) > tonumber(time_us)
  if owner and not ended and not later then redis.call('HSET', readers, node, time_us .. sign) end
end
