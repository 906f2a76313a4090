"""What Redis does in one step: every write to a reply, with its checks.

A reply is a hash and a stream. The hash holds `r` the record, `o` the owner, `e` its epoch, `p` the position up to
which text is in the stream, `c` once that is all of it, `x` once it has its end. The stream's entries hold `p` and `t` (text
that begins after position `p`), `c` (the text is complete: the end that will follow), `e` (the end). Their ids are the
times of arrival, by Redis' clock.

Every script may be sent twice, when an answer was lost on the way: the second time changes nothing.
"""

from __future__ import annotations

import hashlib

CREATE = """
local h = redis.call('HMGET', KEYS[1], 'o', 'at')
if h[1] == ARGV[2] and h[2] == ARGV[4] then return 'ok' end
if h[1] or redis.call('EXISTS', KEYS[2]) > 0 then return 'known' end
redis.call('HSET', KEYS[1], 'r', ARGV[1], 'o', ARGV[2], 'e', '1', 'p', '0', 'at', ARGV[4])
redis.call('SADD', KEYS[3], ARGV[3])
return 'ok'
"""
"""KEYS hash, mark of an expired id, the owner's set. ARGV record, owner, reply id, now."""

WRITE = """
local h = redis.call('HMGET', KEYS[1], 'o', 'e', 'p', 'x', 'c')
if not h[1] then return 'gone' end
if h[4] then return 'ended' end
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return 'lost' end
local entry = {}
if ARGV[5] ~= '' then entry = {'p', ARGV[3], 't', ARGV[5]} end
if ARGV[6] ~= '' and not h[5] then
  entry[#entry + 1] = 'c'
  entry[#entry + 1] = ARGV[6]
end
if h[3] == ARGV[3] and #entry > 0 then
  redis.call('XADD', KEYS[2], '*', unpack(entry))
  redis.call('HSET', KEYS[1], 'p', ARGV[4])
  if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'c', '1') end
elseif h[3] ~= ARGV[4] then return 'torn' end
return 'ok'
"""
"""KEYS hash, stream. ARGV owner, epoch, the position before the text, the one behind it, the text, and what the end
will be (empty while more text will come)."""

FINISH = """
local h = redis.call('HMGET', KEYS[1], 'o', 'e', 'x')
if not h[1] then return 'gone' end
if h[3] then return 'ended' end
if ARGV[2] ~= '' and (h[1] ~= ARGV[1] or h[2] ~= ARGV[2]) then return 'lost' end
redis.call('HSET', KEYS[1], 'x', '1')
redis.call('XADD', KEYS[2], '*', 'e', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('SET', KEYS[3], '1', 'PX', ARGV[5])
redis.call('DEL', KEYS[4])
if ARGV[8] == '' then redis.call('SREM', ARGV[6] .. h[1], ARGV[7]) end
return 'ok'
"""
"""KEYS hash, stream, mark of an expired id, readers. ARGV owner, epoch (empty: whoever owns it), the end, milliseconds
for which the text and the id are kept, what an owner's set begins with, reply id, whether the owner is to say itself
that it has let go (else empty)."""

TIME = "return redis.call('TIME')"
"""KEYS any: in a Cluster, the time where that key is."""

QUIET = """
local o = redis.call('HGET', KEYS[1], 'o')
if not o or redis.call('SISMEMBER', KEYS[3] .. o, ARGV[1]) == 0 then return 1 end
local t = redis.call('TIME')
local lease = redis.call('ZSCORE', KEYS[2], o)
if lease and tonumber(lease) > t[1] * 1000 + math.floor(t[2] / 1000) then return 0 end
return 1
"""
"""Whether nobody produces an ended reply any more. KEYS hash, leases of the nodes, what an owner's set begins with. ARGV
reply id."""

TAKE = """
local h = redis.call('HMGET', KEYS[1], 'o', 'e', 'p', 'x')
if not h[1] then return false end
if h[4] then
  redis.call('SREM', KEYS[3] .. h[1], ARGV[2])
  return false
end
if h[1] == ARGV[1] then return {h[2], h[3]} end
local t = redis.call('TIME')
local lease = redis.call('ZSCORE', KEYS[2], h[1])
if lease and tonumber(lease) > t[1] * 1000 + math.floor(t[2] / 1000) then return false end
local epoch = tostring(math.floor(h[2]) + 1)
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'e', epoch)
redis.call('SREM', KEYS[3] .. h[1], ARGV[2])
redis.call('SADD', KEYS[3] .. ARGV[1], ARGV[2])
return {epoch, h[3]}
"""
"""KEYS hash, leases of the nodes, what an owner's set begins with. ARGV new owner, reply id."""

RELEASE = """
local h = redis.call('HMGET', KEYS[1], 'o', 'e', 'x')
if not h[1] or h[3] or h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return 'lost' end
redis.call('HSET', KEYS[1], 'o', ARGV[4], 'e', tostring(math.floor(h[2]) + 1))
redis.call('SREM', KEYS[3] .. ARGV[1], ARGV[3])
redis.call('SADD', KEYS[3] .. ARGV[4], ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[4])
return 'ok'
"""
"""KEYS hash, leases of the nodes, what an owner's set begins with. ARGV owner, epoch, reply id, nobody."""

ALL = (CREATE, WRITE, FINISH, TIME, QUIET, TAKE, RELEASE)


def name(script: str) -> str:
    """What Redis calls a script once it has been loaded."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


NAMES = {script: name(script) for script in ALL}
