-- Set a string, and return what it was before (nothing if it was not there).
--
-- As a script, because redis-py takes the answer of this form of `SET` for a yes or no.
--
-- KEYS  name
-- ARGV  value
--       seconds  after which it expires
local name = unpack(KEYS)
local value, seconds = unpack(ARGV)

return redis.call('SET', name, value, 'EX', seconds, 'GET')
