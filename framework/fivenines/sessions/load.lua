-- Read a session and, once a tenth of its idle time is used up, let it live on.
-- KEYS[1] session   ARGV[1] idle time, ms   ARGV[2] renew when less than this is left, ms
-- Returns nil (no such session), 'superseded', or {1 if renewed else 0, field, value, ...}.
local meta = redis.call('HMGET', KEYS[1], 'c', 'a', 'x')
if meta[3] then return 'superseded' end
if not meta[1] then return false end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local until_absolute = tonumber(meta[2]) - now
if until_absolute <= 0 then
  redis.call('DEL', KEYS[1])
  return false
end

local left = redis.call('PTTL', KEYS[1])
local wanted = math.min(tonumber(ARGV[1]), until_absolute)
local renewed = 0
-- 5 ms: near the absolute deadline `wanted` and `left` are the same time, rounded differently.
if left < tonumber(ARGV[2]) and wanted > left + 5 then
  redis.call('PEXPIRE', KEYS[1], wanted)
  renewed = 1
end

local answer = redis.call('HGETALL', KEYS[1])
table.insert(answer, 1, renewed)
return answer
