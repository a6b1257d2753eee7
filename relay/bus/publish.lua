-- Append events to a topic's stream.
-- KEYS[1]  the stream
-- ARGV[1]  the last position published of this topic, as PostgreSQL knows it
-- ARGV[2…] pairs of position and envelope
-- Returns 1 when the stream had lost entries (Redis came back without them) and was begun again, else 0. A position
-- that is not past the stream's last one is an error: whoever wants to add it is no longer the publisher.
local function last()
  if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return tonumber(string.match(info[i + 1], '^%d+')) end
  end
  return 0
end

local lost = 0
if last() < tonumber(ARGV[1]) then
  -- Groups go with the stream: their consumers notice, and read what is lacking from the event store.
  redis.call('DEL', KEYS[1])
  redis.call('XADD', KEYS[1], ARGV[1] .. '-0', 'e', '')
  redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
  lost = 1
end
for i = 2, #ARGV, 2 do
  redis.call('XADD', KEYS[1], ARGV[i] .. '-0', 'e', ARGV[i + 1])
end
return lost
