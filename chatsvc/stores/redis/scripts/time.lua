-- Return the time of the master that has a key, as {seconds since 1970, microseconds}.
--
-- KEYS  any  decides in Redis Cluster which master is asked
return redis.call('TIME')
