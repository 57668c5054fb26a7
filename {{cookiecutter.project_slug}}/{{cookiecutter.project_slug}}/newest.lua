-- A page of a user's orders, newest first.
-- KEYS: orders (hash), index (sorted set)
-- ARGV: how many, the id to go on after (empty: from the newest)
local orders, index = KEYS[1], KEYS[2]
local count, after = ARGV[1], ARGV[2]

local from = '+inf'
if after ~= '' then
  local score = redis.call('ZSCORE', index, after)
  if not score then
    return false
  end
  from = '(' .. score
end

local ids = redis.call('ZRANGE', index, from, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, count)
if #ids == 0 then
  return { {}, {} }
end
local fields = {}
for i, id in ipairs(ids) do
  fields[i] = 'o:' .. id
end
return {ids, redis.call('HMGET', orders, unpack(fields))}
