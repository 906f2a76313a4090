"""What Redis does in one step: every write to a reply, with its checks.

A reply is a hash and a stream. The hash holds `r` the record, `o` the owner, `e` its epoch, `p` the position up to
which text is in the stream, `c` once that is all of it, `x` once it has its end. The stream's entries hold `p` and `t` (text
that begins after position `p`), `c` (the text is complete: the end that will follow), `e` (the end, behind position `p`).
Their ids are the times of arrival, by Redis' clock.

Every script may be sent twice, when an answer was lost on the way: the second time changes nothing.
"""

from __future__ import annotations

import hashlib

_TELL = """
local function tell(key, reply, epoch)
  local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  local n = last and last[2][2] + 1 or 1
  redis.call('XADD', key, 'MAXLEN', '~', 4096, '*', 'n', n, 'r', reply, unpack(epoch and {'o', epoch} or {}))
end
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function alive(leases, node)
  local lease = redis.call('ZSCORE', leases, node)
  return lease and tonumber(lease) > now()
end
-- One that has been forgotten, for it was silent and owned nothing, is looked after again when it does.
local function mind(leases, node)
  redis.call('ZADD', leases, 'NX', now() + 1000, node)
end
"""

CREATE = (
    _TELL
    + """
local h = redis.call('HMGET', KEYS[1], 'o', 'at')
if h[1] == ARGV[2] and h[2] == ARGV[4] then return 'ok' end
if h[1] or redis.call('EXISTS', KEYS[2]) > 0 then return 'known' end
redis.call('HSET', KEYS[1], 'r', ARGV[1], 'o', ARGV[2], 'e', '1', 'p', '0', 'at', ARGV[4])
redis.call('SADD', KEYS[3], ARGV[3])
mind(KEYS[4], ARGV[2])
return 'ok'
"""
)
"""KEYS hash, mark of an expired id, the owner's set, leases of the nodes. ARGV record, owner, reply id, now."""

WRITE = """
local h = redis.call('HMGET', KEYS[1], 'o', 'e', 'p', 'x', 'c')
if not h[1] then return {'gone'} end
if h[4] then return {'ended'} end
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'lost'} end
local entry = {}
if ARGV[5] ~= '' then entry = {'p', ARGV[3], 't', ARGV[5]} end
if ARGV[6] ~= '' and not h[5] then
  entry[#entry + 1] = 'c'
  entry[#entry + 1] = ARGV[6]
end
if h[3] == ARGV[3] and #entry > 0 then
  local id = redis.call('XADD', KEYS[2], '*', unpack(entry))
  redis.call('HSET', KEYS[1], 'p', ARGV[4])
  if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'c', '1') end
  return {'ok', id}
end
if h[3] ~= ARGV[4] then return {'torn', h[3]} end
return {'ok', redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1][1]}
"""
"""Gives the entry's id, or the position that Redis has where it is not the one before the text.

KEYS hash, stream. ARGV owner, epoch, the position before the text, the one behind it, the text, and what the end
will be (empty while more text will come)."""

FINISH = (
    _TELL
    + """
local h = redis.call('HMGET', KEYS[1], 'o', 'e', 'x', 'p')
if not h[1] then return {'gone'} end
if h[3] then return {'ended'} end
if ARGV[2] ~= '' then
  if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return {'lost'} end
  if tonumber(h[4]) < tonumber(ARGV[3]) then return {'torn', h[4]} end
end
local id = redis.call('XADD', KEYS[2], '*', 'p', h[4], 'e', ARGV[4])
redis.call('HSET', KEYS[1], 'x', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('SET', KEYS[3], '1', 'PX', ARGV[6])
redis.call('DEL', KEYS[4])
if ARGV[8] == '' then redis.call('SREM', KEYS[6] .. h[1], ARGV[7]) end
tell(KEYS[5], ARGV[7])
return {'ok', id, h[4]}
"""
)
"""Gives the entry's id and the position in Redis, or what `WRITE` does.

KEYS hash, stream, mark of an expired id, readers, news, what an owner's set begins with. ARGV owner, epoch (empty:
whoever owns it), the position, the end, milliseconds for which the text and the id are kept, reply id, whether the owner
is to say itself that it has let go (else empty)."""

TIME = "return redis.call('TIME')"
"""KEYS any: in a Cluster, the time where that key is."""

QUIET = (
    _TELL
    + """
local o = redis.call('HGET', KEYS[1], 'o')
if not o or redis.call('SISMEMBER', KEYS[3] .. o, ARGV[1]) == 0 then return 1 end
return alive(KEYS[2], o) and 0 or 1
"""
)
"""Whether nobody produces an ended reply any more. KEYS hash, leases of the nodes, what an owner's set begins with. ARGV
reply id."""

TAKE = (
    _TELL
    + """
local h = redis.call('HMGET', KEYS[1], 'o', 'e', 'p', 'x')
if not h[1] then return false end
if h[4] then
  redis.call('SREM', KEYS[3] .. h[1], ARGV[2])
  return false
end
if h[1] == ARGV[1] then return {h[2], h[3]} end
if alive(KEYS[2], h[1]) then return false end
local epoch = tostring(math.floor(h[2]) + 1)
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'e', epoch)
redis.call('SREM', KEYS[3] .. h[1], ARGV[2])
redis.call('SADD', KEYS[3] .. ARGV[1], ARGV[2])
mind(KEYS[2], ARGV[1])
tell(KEYS[4], ARGV[2], epoch)
return {epoch, h[3]}
"""
)
"""KEYS hash, leases of the nodes, what an owner's set begins with, news. ARGV new owner, reply id."""

RELEASE = (
    _TELL
    + """
local h = redis.call('HMGET', KEYS[1], 'o', 'e', 'x')
if not h[1] or h[3] or h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return 'lost' end
local epoch = tostring(math.floor(h[2]) + 1)
redis.call('HSET', KEYS[1], 'o', ARGV[4], 'e', epoch)
redis.call('SREM', KEYS[3] .. ARGV[1], ARGV[3])
redis.call('SADD', KEYS[3] .. ARGV[4], ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[4])
tell(KEYS[4], ARGV[3], epoch)
return 'ok'
"""
)
"""KEYS hash, leases of the nodes, what an owner's set begins with, news. ARGV owner, epoch, reply id, nobody."""

FORGET = (
    _TELL
    + """
if redis.call('SCARD', KEYS[1]) == 0 and not alive(KEYS[2], ARGV[1]) then redis.call('ZREM', KEYS[2], ARGV[1]) end
"""
)
"""KEYS the node's set, leases of the nodes. ARGV a node that is dead."""

MARK = """
for i, key in ipairs(KEYS) do
  local h = redis.call('HMGET', ARGV[3 + i], 'o', 'x')
  local before = redis.call('HGET', key, ARGV[1])
  if h[1] and not h[2] and not (before and tonumber(string.match(before, '%d+')) > tonumber(ARGV[2])) then
    redis.call('HSET', key, ARGV[1], ARGV[2] .. ARGV[3])
  end
end
"""
"""KEYS readers of some replies. ARGV node, when it said so (microseconds), `+` while it reads them or `-` when it does
not any more, then the hashes of the replies."""

READ = """
local last = 0
local found = redis.call('HGETALL', KEYS[1])
for i = 1, #found, 2 do
  local at = math.floor(string.match(found[i + 1], '%d+') / 1000)
  if string.sub(found[i + 1], -1) == '+' then
    at = tonumber(redis.call('ZSCORE', KEYS[2], found[i]) or at)
  end
  last = math.max(last, at)
end
return last
"""
"""Until when a reply has been read by other nodes, in milliseconds; for one that lives, until its lease runs out. KEYS
readers, leases of the nodes."""

# redis-py takes the answer of this `SET` for a yes or no.
REMEMBER = "return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2], 'GET')"
"""Gives what stood there. KEYS name. ARGV value, seconds."""

ALL = (CREATE, WRITE, FINISH, TIME, QUIET, TAKE, RELEASE, FORGET, MARK, READ, REMEMBER)


def name(script: str) -> str:
    """What Redis calls a script once it has been loaded."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


NAMES = {script: name(script) for script in ALL}
