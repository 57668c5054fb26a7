-- Delete a key. A script only because scripts are sent again when their answer is lost.
return redis.call('DEL', KEYS[1])
