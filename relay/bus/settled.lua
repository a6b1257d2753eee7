-- How far each group of a topic has settled its entries: all up to that position are acknowledged.
-- KEYS[1]  the stream
-- ARGV[1]  '' or: forget the entries that every group has settled, and those up to this position when there is no group
-- Returns pairs of group and position, and as the last item the entries that are left.
if redis.call('EXISTS', KEYS[1]) == 0 then return {0} end
local found, least = {}, nil
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #info, 2 do group[info[i]] = info[i + 1] end
  local position = tonumber(string.match(group['last-delivered-id'], '^%d+'))
  local pending = redis.call('XPENDING', KEYS[1], group['name'])
  if pending[1] > 0 then
    position = math.min(position, tonumber(string.match(pending[2], '^%d+')) - 1)
  end
  least = math.min(least or position, position)
  found[#found + 1] = group['name']
  found[#found + 1] = position
end
if ARGV[1] ~= '' then
  redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-0', (least or tonumber(ARGV[1])) + 1))
end
found[#found + 1] = redis.call('XLEN', KEYS[1])
return found
