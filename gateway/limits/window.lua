-- What the scripts share: windows and budgets as local.py and window.py have them. Times in milliseconds.

local GRAIN, GRAINS = 250, 240
local DAYS_40 = 40 * 24 * 3600 * 1000

local function number(text)
  return tonumber(text or '0') or 0
end

-- Arguments and answers travel as one text each: its parts, taken singly, cost the client most of its time.
local words = {}
for word in string.gmatch(ARGV[1], '%S+') do words[#words + 1] = word end

-- The caller's clock is for tests; all machines go by that of Redis.
local function now_of(given)
  if given ~= '-' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A window is a hash: what was taken by grain, 'u' their sum, 'o' a grain none is older than, 'n' the newest.
local function window(key, now)
  local fields = redis.call('HMGET', key, 'u', 'o', 'n')
  if not fields[3] then return {used = 0} end
  local used, oldest, newest = number(fields[1]), number(fields[2]), number(fields[3])
  local live = math.floor(now / GRAIN) - GRAINS
  if newest < live or newest > live + 2 * GRAINS + 1 then  -- over, or of a clock that was set back
    redis.call('DEL', key)
    return {used = 0}
  end
  if oldest < live then
    for grain = oldest, live - 1 do
      local taken = redis.call('HGET', key, grain)
      if taken then
        used = used - number(taken)
        redis.call('HDEL', key, grain)
      end
    end
    oldest = live
    redis.call('HSET', key, 'u', used, 'o', oldest)
  end
  return {used = used, oldest = oldest, newest = newest}
end

local function window_take(key, amount, now, found)
  local grain = math.floor(now / GRAIN)
  if found.newest and found.newest > grain then grain = found.newest end
  redis.call('HINCRBY', key, grain, amount)
  redis.call('HSET', key, 'u', found.used + amount, 'o', found.oldest or grain, 'n', grain)
  redis.call('PEXPIRE', key, (GRAINS + 2) * GRAIN)
  found.used, found.newest = found.used + amount, grain
  return grain
end

local function window_give_back(key, amount, grain, found)
  local given = math.min(amount, number(redis.call('HGET', key, grain)))
  if found.newest and given > 0 then
    redis.call('HINCRBY', key, grain, -given)
    redis.call('HINCRBY', key, 'u', -given)
  end
end

local function window_wait(key, freed, now, found)
  for grain = found.oldest or 0, found.newest or -1 do
    freed = freed - number(redis.call('HGET', key, grain))
    if freed <= 0 then return (grain + GRAINS + 1) * GRAIN - now end
  end
  return 0
end

local function window_reset(now, found)
  if found.used == 0 then return 0 end
  return (found.newest + GRAINS + 1) * GRAIN - now
end

-- A budget is a hash, 's' spent and 'r' what running requests hold, and a sorted set of these by when they end.
local function budget(key, held_key, now, known)
  local fields = redis.call('HMGET', key, 's', 'r')
  local spent, held = number(fields[1]), number(fields[2])
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', held_key, '-inf', now)) do
    held = math.max(0, held - number(string.match(member, '|(%d+)$')))
    redis.call('ZREM', held_key, member)
    redis.call('HSET', key, 'r', held)
  end
  if known > spent then
    spent = known
    redis.call('HSET', key, 's', string.format('%.0f', spent))
    redis.call('PEXPIRE', key, DAYS_40)
  end
  return {used = spent + held}
end

local function budget_hold(key, held_key, lease, amount, ends)
  -- As digits: Lua's own text of a large number has an exponent.
  if redis.call('ZADD', held_key, ends, lease .. '|' .. string.format('%.0f', amount)) == 1 then
    redis.call('HINCRBY', key, 'r', amount)
  end
  redis.call('PEXPIRE', key, DAYS_40)
  redis.call('PEXPIRE', held_key, DAYS_40)
end
