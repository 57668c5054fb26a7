-- End an id whose session goes on under a new one, and hand over what others wrote into it until this moment.
-- A marker without content stays for a minute: a request that comes late with the old id must not start a new
-- session, whose cookie would then replace the one that the login has just set in the same browser.
-- KEYS[1] session   ARGV[1] how long the marker stays, ms
-- Returns {field, value, ...}, or nil when the session had ended already.
if redis.call('HEXISTS', KEYS[1], 'c') == 0 then return false end
local content = redis.call('HGETALL', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'x', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return content
