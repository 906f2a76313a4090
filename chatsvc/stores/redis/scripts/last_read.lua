-- Return the time up to which other nodes have had readers of a reply (milliseconds); 0 if none ever had.
-- A node that has readers does not repeat that: while its lease has not run out, they count as present.
--
-- KEYS  readers  the hash of the readers, as `mark_readers.lua` leaves it
--       leases   the leases of the nodes
local readers, leases = unpack(KEYS)

local last = 0
local found = redis.call('HGETALL', readers)
for i = 1, #found, 2 do
  local node, said = found[i], found[i + 1]
  local at = math.floor(string.match(said, '%d+') / 1000)
  if string.sub(said, -1) == '+' then at = tonumber(redis.call('ZSCORE', leases, node) or at) end
  last = math.max(last, at)
end
return last
