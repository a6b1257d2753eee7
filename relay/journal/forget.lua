-- Forgets a room's stream, always or only if it holds nothing after a position.
--
-- KEYS[1]  the room's epoch (string)
-- ARGV[1]  what its streams' names begin with; a stream is ARGV[1] .. epoch, in the same slot by its hash tag. It is no
--          key, and would keep a cluster from running this while the slot is on the move
-- ARGV[2]  how long the epoch stays behind, in milliseconds
-- ARGV[3]  epoch of the position, or absent to forget in any case
-- ARGV[4]  id of the position
-- Returns  1 when the room has no stream now, 0 when it was kept.

local epoch = redis.call('GET', KEYS[1])
if not epoch then
  return 1
end
local stream = ARGV[1] .. epoch
if ARGV[3] and redis.call('EXISTS', stream) == 1 then
  if epoch ~= ARGV[3] or #redis.call('XRANGE', stream, '(' .. ARGV[4], '+', 'COUNT', 1) > 0 then
    return 0
  end
end
redis.call('UNLINK', stream)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
