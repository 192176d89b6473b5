/**
 * The Lua scripts of the cache. They are sent with EVAL, not EVALSHA: a Redis that was restarted or failed over knows
 * no script, and answering NOSCRIPT would cost a second round trip just when things are going wrong.
 */

/**
 * Prepares the load of missing values: creates the generations that are missing, and takes the lock of each value
 * whose lock nobody holds for that generation. A lock names the generation it was taken for, so an invalidation frees it.
 *
 * KEYS: for each value its lock, then its `n` generations.
 * ARGV: n, a fresh token, life of a generation (ms), life of a lock (ms).
 * Returns for each value `+` (locked for the caller) or `-` (held by another) and its generations, joined by dots.
 */
export const CLAIM = `
local n, out, k = tonumber(ARGV[1]), {}, 1
while k <= #KEYS do
  local gens = {}
  for i = 1, n do
    local gen = redis.call('GET', KEYS[k + i])
    if not gen then
      gen = ARGV[2]
      redis.call('SET', KEYS[k + i], gen, 'PX', ARGV[3])
    end
    gens[i] = gen
  end
  local generation = table.concat(gens, '.')
  if redis.call('GET', KEYS[k]) == generation then
    out[#out + 1] = '-' .. generation
  else
    redis.call('SET', KEYS[k], generation, 'PX', ARGV[4])
    out[#out + 1] = '+' .. generation
  end
  k = k + n + 1
end
return out`;

/**
 * Stores loaded values whose generations are still current, and frees their locks. A fill that arrives late, after an
 * invalidation, stores nothing.
 *
 * KEYS: for each value its key, its lock, its \`n\` generations, and, if indexed, the index it is listed in.
 * ARGV: n, 1 if indexed else 0, the most entries of an index, then for each value its generation, envelope and life (ms).
 */
export const FILL = `
local n, indexed, most = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])
local k, a = 1, 4
while k <= #KEYS do
  local gens = {}
  for i = 1, n do gens[i] = redis.call('GET', KEYS[k + 1 + i]) or '' end
  if table.concat(gens, '.') == ARGV[a] then
    redis.call('SET', KEYS[k], ARGV[a + 1], 'PX', ARGV[a + 2])
    if indexed then
      local index, now = KEYS[k + n + 2], redis.call('TIME')
      local ms = now[1] * 1000 + math.floor(now[2] / 1000)
      redis.call('ZREMRANGEBYSCORE', index, '-inf', ms)
      redis.call('ZADD', index, ms + ARGV[a + 2], KEYS[k])
      redis.call('ZREMRANGEBYRANK', index, 0, -1 - most)
      redis.call('PEXPIRE', index, ARGV[a + 2])
    end
  end
  if redis.call('GET', KEYS[k + 1]) == ARGV[a] then redis.call('DEL', KEYS[k + 1]) end
  k = k + n + 2 + (indexed and 1 or 0)
  a = a + 3
end
return 1`;

/** Frees locks that are still held for the generation they were taken for. KEYS: locks. ARGV: their generations. */
export const RELEASE = `
for i = 1, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[i] then redis.call('DEL', KEYS[i]) end
end
return 1`;

/**
 * Invalidates one value's only tag, and puts a newer value in place of the stored one: whichever of the two has the
 * higher version, under a new generation. Where no value with a version was stored under the current generation, both
 * are removed: nothing then says that the newer value is the newest.
 *
 * KEYS: the value, its generation, then the other values that depend on the tag.
 * ARGV: a fresh token, life of a generation (ms), the envelope under that token, its life (ms), its version.
 */
export const REPLACE = `
local raw, gen = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
for i = 3, #KEYS do redis.call('UNLINK', KEYS[i]) end
local version = 0
if raw and gen and string.sub(raw, 9, 8 + #gen) == gen then
  version = tonumber(string.match(string.sub(raw, 1, 2048), '"version":(%d+)')) or 0
end
if version == 0 then return redis.call('UNLINK', KEYS[1], KEYS[2]) end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if version >= tonumber(ARGV[5]) then
  redis.call('SET', KEYS[1], string.sub(raw, 1, 8) .. ARGV[1] .. string.sub(raw, 9 + #gen), 'KEEPTTL')
else
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
return 0`;

/** Removes an index and every key listed in it. KEYS: the index. Its entries share its slot. */
export const DROP_INDEXED = `
local keys = redis.call('ZRANGE', KEYS[1], 0, -1)
keys[#keys + 1] = KEYS[1]
return redis.call('UNLINK', unpack(keys))`;
