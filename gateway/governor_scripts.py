"""The rules of `gateway.pacing`, as Lua that Redis runs in one go.

One hash holds the state, one list the grants of the last window ("moment count", oldest first), one list the
moments of the errors. Moments are seconds since the epoch, written so that no digit is lost.
"""

_STATE = """
local key, log, error_log = KEYS[1], KEYS[2], KEYS[3]
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local calls, window = tonumber(ARGV[2]), tonumber(ARGV[3])
local errors, error_window = tonumber(ARGV[4]), tonumber(ARGV[5])
local kept, shortest_wait = tonumber(ARGV[6]), tonumber(ARGV[7])
local NAMES = {'used', 'in_flight', 'in_flight_until', 'paused_until', 'reason', 'failures', 'denials',
  'opened', 'open_until', 'open_reason', 'probe_until'}
local TEXTS = {reason = true, open_reason = true}
local was, s = redis.call('HMGET', key, unpack(NAMES)), {}
for i, name in ipairs(NAMES) do
  s[name] = TEXTS[name] and (was[i] or '') or tonumber(was[i] or 0)
end

local function exact(number) return string.format('%.17g', number) end

local function save()
  local changed = {}
  for i, name in ipairs(NAMES) do
    local value = TEXTS[name] and s[name] or exact(s[name])
    if value ~= was[i] and not (was[i] == false and (value == '' or value == '0')) then
      changed[#changed + 1] = name
      changed[#changed + 1] = value
    end
  end
  if #changed > 0 then redis.call('HSET', key, unpack(changed)) end
  redis.call('EXPIRE', key, kept)
end

local function oldest()
  local head = redis.call('LINDEX', log, 0)
  if not head then return nil end
  local moment, count = string.match(head, '^(%S+) (%d+)$')
  return tonumber(moment), tonumber(count), moment
end

local function add(moment, count)
  redis.call('RPUSH', log, exact(moment) .. ' ' .. count)
  redis.call('EXPIRE', log, math.ceil(window) + 60)
  s.used = s.used + count
end

local function expire()
  local moment, count = oldest()
  while moment and moment <= now - window do
    redis.call('LPOP', log)
    s.used = s.used - count
    moment, count = oldest()
  end
  if not moment then s.used = 0 end
  local failed = redis.call('LINDEX', error_log, 0)
  while failed and tonumber(failed) <= now - error_window do
    redis.call('LPOP', error_log)
    failed = redis.call('LINDEX', error_log, 0)
  end
  if s.in_flight_until <= now then s.in_flight = 0 end
  return moment, tonumber(failed or 0)
end

local function error_room() return math.max(errors - 1, 1) - redis.call('LLEN', error_log) end

local function pause(seconds, reason)
  local till = now + math.min(seconds, 86400)
  if till > s.paused_until then
    s.paused_until, s.reason = till, reason
  end
end
"""

TAKE = (
    _STATE
    + """
local wanted, lease = tonumber(ARGV[8]), tonumber(ARGV[9])
if wanted <= 1 then lease = 0 end
local probe_seconds, probe_wait = tonumber(ARGV[10]), tonumber(ARGV[11])
local in_flight_seconds, in_flight_wait, missed = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])

local birth = redis.call('HMGET', key, 'birth', 'born_at')
if not birth[1] then
  birth = {ARGV[15], exact(now)}
  redis.call('HSET', key, 'birth', birth[1], 'born_at', birth[2])
end

local function answer(granted, wait, reason)
  local quiet = 0
  if s.failures == 0 and s.denials == 0 and s.opened == 0 and s.open_until == 0 then quiet = 1 end
  save()
  return {granted, exact(wait), exact(now), reason, quiet, birth[1], birth[2]}
end

if missed > 0 then add(now, missed) end
if s.paused_until > now then return answer(0, s.paused_until - now, s.reason) end
if s.open_until > now then return answer(0, s.open_until - now, s.open_reason) end
if s.open_until > 0 then
  if s.probe_until > now then return answer(0, math.min(s.probe_until - now, probe_wait), s.open_reason) end
  wanted = 1
end
local first, failed = expire()
local free = math.min(wanted, calls - s.used)
if free < 1 then return answer(0, math.max(first + window - now, shortest_wait), 'rate limit') end
if errors > 0 then
  local left = error_room()
  local room = left - s.in_flight
  if room < 1 then
    local wait = left > 0 and in_flight_wait or math.max(failed + error_window - now, shortest_wait)
    return answer(0, wait, 'error budget')
  end
  free = math.min(free, room)
  s.in_flight, s.in_flight_until = s.in_flight + free, now + in_flight_seconds
end
add(now + lease, free)
if s.open_until > 0 then s.probe_until = now + probe_seconds end
return answer(free, 0, '')
"""
)

GIVE_BACK = (
    _STATE
    + """
local granted_at, unused = tonumber(ARGV[8]), tonumber(ARGV[9])
s.in_flight = math.max(s.in_flight - unused, 0)
if s.open_until > 0 then s.probe_until = 0 end
if granted_at > now - window then
  expire()
  local _, count, moment = oldest()
  while unused > 0 and count do
    local taken = math.min(count, unused)
    redis.call('LPOP', log)
    unused, s.used = unused - taken, s.used - taken
    if count > taken then
      redis.call('LPUSH', log, moment .. ' ' .. (count - taken))
    end
    _, count, moment = oldest()
  end
end
save()
return 1
"""
)

RECORD = (
    _STATE
    + """
local outcome, asked, reason = ARGV[8], tonumber(ARGV[9]), ARGV[10]
local most_failures, seconds, most_denials = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local unauthorized_seconds, longest = tonumber(ARGV[14]), tonumber(ARGV[15])

local function open(first_seconds)
  if s.open_until > now then return end
  s.open_until = now + math.min(first_seconds * 2 ^ s.opened, longest)
  s.opened = math.min(s.opened + 1, 20)
  s.open_reason, s.probe_until = reason, 0
end

s.in_flight = math.max(s.in_flight - 1, 0)
if outcome == 'failed' then
  s.failures = s.failures + 1
  if s.failures >= most_failures or s.open_until > 0 then open(seconds) end
elseif outcome == 'unauthorized' then
  open(unauthorized_seconds)
elseif outcome == 'forbidden' then
  s.denials = s.denials + 1
  if s.denials >= most_denials or s.open_until > 0 then open(unauthorized_seconds) end
else
  s.failures, s.denials, s.opened, s.open_until, s.probe_until, s.open_reason = 0, 0, 0, 0, 0, ''
end
if errors > 0 and (outcome == 'refused' or outcome == 'unauthorized' or outcome == 'forbidden') then
  redis.call('RPUSH', error_log, exact(now))
  redis.call('EXPIRE', error_log, math.ceil(error_window) + 60)
  local _, failed = expire()
  if error_room() < 1 then pause(failed + error_window - now, 'error budget: ' .. reason) end
end
if asked > 0 then pause(asked, reason) end
save()
return 1
"""
)

PAUSE = (
    _STATE
    + """
pause(tonumber(ARGV[8]), ARGV[9])
save()
return 1
"""
)

RESET = (
    _STATE
    + """
local used = s.used
redis.call('DEL', error_log)
for _, name in ipairs(NAMES) do s[name] = TEXTS[name] and '' or 0 end
s.used = used
save()
return 1
"""
)

STATE = (
    _STATE
    + """
expire()
save()
return {exact(now), s.used, redis.call('LLEN', error_log), s.failures, exact(s.paused_until), s.reason,
  exact(s.open_until), s.open_reason}
"""
)
