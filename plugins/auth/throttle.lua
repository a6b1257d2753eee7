-- Count an attempt, and say how long to wait before the next one may be made.
-- KEYS[1]  whose attempts
-- ARGV[1]  attempts that are free
-- ARGV[2]  first wait, ms; it doubles with each further attempt
-- ARGV[3]  longest wait, ms
-- ARGV[4]  forget after so many ms without an attempt
-- returns  ms to wait: 0 = counted, go on; else refused and not counted
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'count', 'until')
local till = tonumber(known[2]) or 0
if now < till then
  return till - now
end
local count = (tonumber(known[1]) or 0) + 1
redis.call('HSET', KEYS[1], 'count', count)
local over = count - ARGV[1]
if over >= 0 then
  redis.call('HSET', KEYS[1], 'until', now + math.min(ARGV[3], ARGV[2] * 2 ^ math.min(over, 30)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 0
