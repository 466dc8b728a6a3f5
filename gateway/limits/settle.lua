-- Give back what a request was granted, but for what it spent.
-- KEYS: two for each claim. Words: now (- for Redis' own), lease, then for each claim: kind, granted, spent, grain.
-- Windows are those of tokens: requests are never given back.

local WINDOW, SEATS = '0', '1'
local now, lease = now_of(words[1]), words[2]

for place = 1, #KEYS / 2 do
  local at = 2 + (place - 1) * 4
  local key, held_key, kind = KEYS[2 * place - 1], KEYS[2 * place], words[at + 1]
  local granted, spent = tonumber(words[at + 2]), tonumber(words[at + 3])
  if kind == WINDOW then
    local found = window(key, now)
    if spent > granted then
      window_take(key, spent - granted, now, found)
    else
      window_give_back(key, granted - spent, words[at + 4], found)
    end
  elseif kind == SEATS then
    redis.call('ZREM', key, lease)
  else
    if redis.call('ZREM', held_key, lease .. '|' .. words[at + 2]) == 1 then
      -- Less than nothing where Redis, short of memory, gave up the hash and kept the set.
      if redis.call('HINCRBY', key, 'r', -granted) < 0 then redis.call('HSET', key, 'r', 0) end
    end
    if spent > 0 then
      redis.call('HINCRBY', key, 's', words[at + 3])
      redis.call('PEXPIRE', key, DAYS_40)
    end
  end
end
return 1
