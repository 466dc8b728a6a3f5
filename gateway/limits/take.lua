-- Take all claims of a request, or none.
-- KEYS: two for each claim. Words: now (- for Redis' own), lease, its milliseconds, then for each claim: kind, most,
-- amount, least, known. Returns for each claim: granted (-2: refused), used, wait (-1: never), reset, grain.

local WINDOW, SEATS = '0', '1'
local now, lease, lease_ms = now_of(words[1]), words[2], tonumber(words[3])
local claims, refused = {}, false

for place = 1, #KEYS / 2 do
  local at = 3 + (place - 1) * 5
  local claim = {
    key = KEYS[2 * place - 1], held = KEYS[2 * place], kind = words[at + 1], most = tonumber(words[at + 2]),
    amount = tonumber(words[at + 3]), least = tonumber(words[at + 4]), wait = 0, reset = 0, grain = 0,
  }
  if claim.kind == WINDOW then
    claim.found = window(claim.key, now)
    claim.reset = window_reset(now, claim.found)
  elseif claim.kind == SEATS then
    redis.call('ZREMRANGEBYSCORE', claim.key, '-inf', now)
    claim.found = {used = redis.call('ZCARD', claim.key)}
  else
    claim.found = budget(claim.key, claim.held, now, tonumber(words[at + 5]))
  end
  claim.used = claim.found.used
  claim.granted = claim.amount == 0 and 0 or math.min(claim.amount, claim.most - claim.used)
  if claim.amount > 0 and claim.granted < claim.least then
    refused = true
    claim.granted = -2
    if claim.least > claim.most then
      claim.wait = -1
    elseif claim.kind == WINDOW then
      claim.wait = window_wait(claim.key, claim.used + claim.least - claim.most, now, claim.found)
    end
  end
  claims[place] = claim
end

local answer = {}
for _, claim in ipairs(claims) do
  if not refused and claim.granted > 0 then
    if claim.kind == WINDOW then
      claim.grain = window_take(claim.key, claim.granted, now, claim.found)
      claim.reset = window_reset(now, claim.found)
    elseif claim.kind == SEATS then
      redis.call('ZADD', claim.key, now + lease_ms, lease)
      redis.call('PEXPIRE', claim.key, 2 * lease_ms)
    else
      budget_hold(claim.key, claim.held, lease, claim.granted, now + lease_ms)
    end
    claim.used = claim.used + claim.granted
  end
  for _, value in ipairs({claim.granted, claim.used, claim.wait, claim.reset, claim.grain}) do
    answer[#answer + 1] = string.format('%.0f', value)
  end
end
return table.concat(answer, ' ')
