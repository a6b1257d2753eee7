-- Take tokens of a rate limit (GCRA): one timestamp a key, the time by which everything taken so far is paid back.
--
-- KEYS[1]  the limit of one principal or address
-- ARGV[1]  microseconds in which one token comes back
-- ARGV[2]  tokens that may be taken at once
-- ARGV[3]  tokens needed
-- ARGV[4]  tokens wanted, to spend without asking again; no less than needed
--
-- Returns {granted, left, reset, wait}: tokens granted (0 = refused, nothing taken), tokens left, microseconds until
-- all are back, microseconds until what was needed can be had.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, need, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local debt = math.max(0, (tonumber(redis.call('GET', KEYS[1]) or '0')) - now)
local left = math.floor((burst * interval - debt) / interval)
if left < need then
  return {0, math.max(0, left), debt, need * interval - (burst * interval - debt)}
end
local granted = math.min(want, left)
debt = debt + granted * interval
redis.call('SET', KEYS[1], string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000))
return {granted, left - granted, debt, 0}
