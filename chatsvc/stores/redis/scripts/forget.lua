-- Delete a string if it has a value.
--
-- KEYS  name
-- ARGV  value
--
-- Returns how many were deleted: 0 or 1.
local name = unpack(KEYS)
local value = unpack(ARGV)

if redis.call('GET', name) ~= value then return 0 end
return redis.call('DEL', name)
