-- Keep what a running request holds; put it back where Redis has lost it.
-- KEYS: two for each claim. Words: now (- for Redis' own), lease, its milliseconds, then for each claim: kind, granted.

local SEATS = '1'
local now, lease, lease_ms = now_of(words[1]), words[2], tonumber(words[3])

for place = 1, #KEYS / 2 do
  local key, held_key, at = KEYS[2 * place - 1], KEYS[2 * place], 3 + (place - 1) * 2
  if words[at + 1] == SEATS then
    redis.call('ZADD', key, now + lease_ms, lease)
    redis.call('PEXPIRE', key, 2 * lease_ms)
  else
    budget_hold(key, held_key, lease, words[at + 2], now + lease_ms)
  end
end
return 1
