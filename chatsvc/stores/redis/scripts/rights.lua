-- Try every command that a node and its scripts use, and return the names of those that Redis does not allow the user.
--
-- KEYS  rights  written and deleted by this script alone
local rights = unpack(KEYS)

local trials = {
  -- First what removes the rest, while there is nothing.
  {'DEL', rights},
  {'PEXPIRE', rights, 1000},
  {'EXPIRE', rights, 1},
  {'TIME'},
  {'EXISTS', rights},
  {'GET', rights},
  {'SET', rights, '', 'PX', 1000},
  {'DEL', rights},
  {'HGET', rights, 'f'},
  {'HGETALL', rights},
  {'HMGET', rights, 'f'},
  {'HSET', rights, 'f', ''},
  {'DEL', rights},
  {'SCARD', rights},
  {'SISMEMBER', rights, 'm'},
  {'SMEMBERS', rights},
  {'SRANDMEMBER', rights, 1},
  {'SREM', rights, 'm'},
  {'SADD', rights, 'm'},
  {'DEL', rights},
  {'ZRANGEBYSCORE', rights, 0, 0},
  {'ZREM', rights, 'm'},
  {'ZSCORE', rights, 'm'},
  {'ZADD', rights, 0, 'm'},
  {'DEL', rights},
  {'XRANGE', rights, '-', '+'},
  {'XREAD', 'STREAMS', rights, '0-0'},
  {'XREVRANGE', rights, '+', '-'},
  {'XADD', rights, '*', 'f', ''},
  {'DEL', rights},
}
local missing, has = {}, {}
for _, trial in ipairs(trials) do
  local answer = redis.pcall(unpack(trial))
  local refusal = type(answer) == 'table' and answer.err
  if refusal then
    local forbidden = string.find(refusal, "can't run this command", 1, true) or string.find(refusal, 'NOPERM', 1, true)
    -- It is full, or a replica, say: that is not for this script to judge.
    if not forbidden then return redis.error_reply(refusal) end
    if not has[trial[1]] then missing[#missing + 1] = trial[1] end
    has[trial[1]] = true
    -- What can't be removed is not written.
    if trial[1] == 'DEL' or trial[1] == 'PEXPIRE' then return missing end
  end
end
return missing
