-- Appends an entry from outside: in an epoch of its own, which takes over all that the room's stream holds.
--
-- KEYS[1]  the room's epoch (string)
-- ARGV[1]  what its streams' names begin with; a stream is ARGV[1] .. epoch, in the same slot by its hash tag. It is no
--          key, and would keep a cluster from running this while the slot is on the move
-- ARGV[2…] the entry's fields and values
-- Returns  the new epoch, as a decimal string, and the entry's id.
--
-- Whoever has the room open appends to the old epoch's stream, is told that it is gone, opens the room again, and finds
-- the entry there; and no snapshot of the old epoch covers it. The stream must exist: open.lua comes first.

local current = redis.call('GET', KEYS[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local epoch = string.format('%.0f', math.max(now, tonumber(current) + 1))
redis.call('RENAME', ARGV[1] .. current, ARGV[1] .. epoch)
redis.call('SET', KEYS[1], epoch)
return {epoch, redis.call('XADD', ARGV[1] .. epoch, '*', unpack(ARGV, 2))}
