-- Forgets a room's stream, always or only if it holds nothing after a position.
--
-- KEYS[1]  the room's epoch (string)
-- KEYS[2]  what its streams' names begin with; a stream is KEYS[2] .. epoch, in the same slot by its hash tag
-- ARGV[1]  how long the epoch stays behind, in milliseconds
-- ARGV[2]  epoch of the position, or absent to forget in any case
-- ARGV[3]  id of the position
-- Returns  1 when the room has no stream now, 0 when it was kept.

local epoch = redis.call('GET', KEYS[1])
if not epoch then
  return 1
end
local stream = KEYS[2] .. epoch
if ARGV[2] and redis.call('EXISTS', stream) == 1 then
  if epoch ~= ARGV[2] or #redis.call('XRANGE', stream, '(' .. ARGV[3], '+', 'COUNT', 1) > 0 then
    return 0
  end
end
redis.call('UNLINK', stream)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
