-- Finds a room's stream, or begins one with an epoch greater than any before it, and reads how it begins.
--
-- KEYS[1]  the room's epoch (string)
-- ARGV[1]  what its streams' names begin with; a stream is ARGV[1] .. epoch, in the same slot by its hash tag. It is no
--          key, and would keep a cluster from running this while the slot is on the move
-- ARGV[2]  epoch of the position the caller already holds, 0 for none
-- ARGV[3]  that position's milliseconds
-- ARGV[4]  that position's sequence number
-- ARGV[5]  how many entries to read, 0 for none
-- Returns  the epoch of a stream that exists, as a decimal string, and its first entries after that position.
--
-- A stream that ends before the caller's position has lost its end (a server restored from an older file). Ids handed
-- out again would pass for covered by the caller's snapshot, so such a stream is replaced: what it still holds is
-- covered, and whoever appends to it is told that it is gone and appends to the next one what it holds.

local held_epoch, held_ms, held_seq = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function lost_its_end(stream, epoch)
  if epoch ~= held_epoch then
    return epoch < held_epoch
  end
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local ms, seq = string.match(info[i + 1], '(%d+)-(%d+)')
      ms, seq = tonumber(ms), tonumber(seq)
      return ms < held_ms or (ms == held_ms and seq < held_seq)
    end
  end
end

local function opened(epoch)
  if ARGV[5] == '0' then
    return {epoch, {}}
  end
  local first = '-'
  if tonumber(epoch) == held_epoch then
    first = '(' .. ARGV[3] .. '-' .. ARGV[4]
  end
  return {epoch, redis.call('XRANGE', ARGV[1] .. epoch, first, '+', 'COUNT', ARGV[5])}
end

local current = redis.call('GET', KEYS[1])
if current then
  local stream = ARGV[1] .. current
  if redis.call('EXISTS', stream) == 1 then
    if not lost_its_end(stream, tonumber(current)) then
      return opened(current)
    end
    redis.call('UNLINK', stream)
  end
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local epoch = string.format('%.0f', math.max(now, held_epoch + 1, (tonumber(current) or 0) + 1))
redis.call('SET', KEYS[1], epoch)
redis.call('XADD', ARGV[1] .. epoch, 'MAXLEN', 0, '*', 'x', '') -- leaves an empty stream behind
return opened(epoch)
