-- Set a string, and return what it was before (nothing if it was not there).
--
-- As a script, because redis-py takes the answer of this form of `SET` for a yes or no.
--
-- KEYS  name
-- ARGV  value
--       seconds  after which it expires
--       only_new  not empty if a string that is there stays as it is, and expires as late as the new one would
local name = unpack(KEYS)
local value, seconds, only_new = unpack(ARGV)

if only_new ~= '' then value = redis.call('GET', name) or value end
return redis.call('SET', name, value, 'EX', seconds, 'GET')
