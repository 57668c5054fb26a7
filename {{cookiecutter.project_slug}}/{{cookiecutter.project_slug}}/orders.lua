-- Write an order, its index entry and its ledger entry, or answer again what was answered when it was written.
-- KEYS: orders (hash), index (sorted set), ledger (stream)
-- ARGV: id, fingerprint of the request's body, answer, then field, value, … of the ledger entry
local orders, index, ledger = KEYS[1], KEYS[2], KEYS[3]
local id, fingerprint, answer = ARGV[1], ARGV[2], ARGV[3]

local before = redis.call('HMGET', orders, 'r:' .. id, 'o:' .. id)
if before[1] then
  if before[1] ~= fingerprint then
    return {'reused', ''}
  end
  return {'kept', before[2]}
end

redis.call('HSET', orders, 'r:' .. id, fingerprint, 'o:' .. id, answer)
redis.call('ZADD', index, redis.call('ZCARD', index), id)
redis.call('XADD', ledger, '*', unpack(ARGV, 4))
return {'new', answer}
