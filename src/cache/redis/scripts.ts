import { GENERATION_START } from '../core/envelope.js';

/**
 * The Lua scripts of the cache. They are sent with EVAL, not EVALSHA: a Redis that was restarted or failed over has
 * no scripts, and NOSCRIPT would cost a second round trip just when Redis has problems.
 *
 * They read with MGET, also a single key: it finds nothing where GET fails because the key is of another type. SET then
 * replaces it.
 */

/** Far more than a token with its transactions and their epoch has. */
const MAX_GENERATION_CHARACTERS = 500;

/**
 * A function for the first command on an index. A key of another type, which only somebody else can have stored there, is
 * removed: it would make every fill and every invalidation of its entity fail.
 */
export const ON_INDEX = `
local function on_index(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if string.find(reply.err, 'WRONGTYPE', 1, true) then redis.call('UNLINK', key) end
  return redis.call(command, key, ...)
end`;

/**
 * Functions for claims. The first tells whether a text can be a generation: one that somebody else has stored could make
 * envelopes unreadable, or very long, and every fill would renew it.
 *
 * The second takes a batch's lock for a time (ms), unless another process holds it under the same generations. Returns
 * `+` (the caller holds it) or `-` (another process does), and the lock's content.
 */
const FOR_CLAIMS = `
local function is_generation(text)
  return text and #text <= ${MAX_GENERATION_CHARACTERS} and string.find(text, '^[%w%-_:,@]+$')
end
local function take(lock, gens, life)
  local holds = table.concat(gens, '.')
  if #holds > 100 then holds = redis.sha1hex(holds) end
  local mine = redis.call('MGET', lock)[1] ~= holds
  if mine then redis.call('SET', lock, holds, 'PX', life) end
  return (mine and '+' or '-') .. holds
end`;

/**
 * Prepares the load of a batch of missing values: creates the missing generations, and takes the batch's lock, unless
 * another process holds it for the same values under the same generations. One lock serves the batch, so that the
 * cost does not grow with it. The lock contains all the generations: an invalidation of any of them frees it, and a
 * batch of other values that begins with the same value does not wait for values that nobody loads.
 *
 * KEYS: the lock, then the generations of each value.
 * ARGV: a fresh token, life of a new generation (ms), life of the lock (ms).
 * Returns `+` (the caller holds the lock) or `-` (another process does) and the lock's content, then the generations.
 */
export const CLAIM = `${FOR_CLAIMS}
local gens = redis.call('MGET', unpack(KEYS, 2))
for i = 1, #gens do
  if not is_generation(gens[i]) then
    gens[i] = ARGV[1]
    redis.call('SET', KEYS[i + 1], ARGV[1], 'PX', ARGV[2])
  end
end
table.insert(gens, 1, take(KEYS[1], gens, ARGV[3]))
return gens`;

/**
 * Reads values with their generations, and prepares the load as {@link CLAIM} does if all values are missing.
 *
 * KEYS: the list of the transactions that changed everything, the lock, then each value and its `n` generations.
 * ARGV: as for {@link CLAIM}, then n.
 * Returns the list, then what {@link CLAIM} returns first (nothing if a value was found), then the values and
 * generations.
 */
export const READ_OR_CLAIM = `${FOR_CLAIMS}
local each, found = ARGV[4] + 1, redis.call('MGET', unpack(KEYS, 3))
local reply, tokens = {redis.call('MGET', KEYS[1])[1], false, unpack(found)}, {}
for i = 1, #found, each do
  if found[i] then return reply end
end
for i = 1, #found do
  if (i - 1) % each > 0 then
    if not is_generation(found[i]) then
      reply[i + 2] = ARGV[1]
      redis.call('SET', KEYS[i + 2], ARGV[1], 'PX', ARGV[2])
    end
    tokens[#tokens + 1] = reply[i + 2]
  end
end
reply[2] = take(KEYS[2], tokens, ARGV[3])
return reply`;

/**
 * Stores loaded values whose generations still have their tokens, and frees their lock. A fill that arrives after the
 * removal of a generation stores nothing. Readers see from its snapshot whether a value has seen the transactions that
 * were added since.
 *
 * A value that exists renews its generations, so that they outlive it. For "there is no such row", the generations
 * expire with the entry, unless one of them was renewed recently: a value may depend on it. If an index has become
 * too long, the pages that would expire first are removed.
 *
 * KEYS: the lock, then the `n` generations of each value, then the values, then, if indexed, the index of each.
 * ARGV: n, 1 if indexed else 0, the maximum entries of an index, the lock's content (empty: do not free it), life of
 * a generation and of an index (ms), life of a claimed generation (ms), then for each value its generation, envelope,
 * life (ms) and 1 if it exists else 0.
 * Returns how many values were stored.
 */
export const FILL = `${ON_INDEX}
local function tokens(generation) return (string.gsub(generation, ':[^.]*', '')) end
local n, indexed, most, count = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3]), (#ARGV - 6) / 4
local gens, stored = redis.call('MGET', unpack(KEYS, 2, 1 + n * count)), 0
for i = 1, count do
  local first, a = n * i - n + 1, 4 * i + 3
  local generation = gens[first] or ''
  for j = first + 1, n * i do generation = generation .. '.' .. (gens[j] or '') end
  if generation == ARGV[a] or tokens(generation) == tokens(ARGV[a]) then
    local key, exists = KEYS[1 + n * count + i], ARGV[a + 3] == '1'
    redis.call('SET', key, ARGV[a + 1], 'PX', ARGV[a + 2])
    stored = stored + 1
    for j = first, n * i do
      if exists then
        redis.call('PEXPIRE', KEYS[1 + j], ARGV[5])
      elseif redis.call('PTTL', KEYS[1 + j]) <= tonumber(ARGV[6]) then
        redis.call('PEXPIRE', KEYS[1 + j], ARGV[a + 2])
      end
    end
    if indexed and exists then
      local index, now = KEYS[1 + n * count + count + i], redis.call('TIME')
      local ms = now[1] * 1000 + math.floor(now[2] / 1000)
      on_index('ZREMRANGEBYSCORE', index, '-inf', ms)
      redis.call('ZADD', index, ms + ARGV[a + 2], key)
      local extra = redis.call('ZCARD', index) - most
      while extra > 0 do
        local ended = redis.call('ZPOPMIN', index, math.min(extra, 100))
        for j = 1, #ended, 2 do redis.call('UNLINK', ended[j]) end
        extra = extra - 100
      end
      redis.call('PEXPIRE', index, ARGV[5])
    end
  end
end
if ARGV[4] ~= '' and redis.call('MGET', KEYS[1])[1] == ARGV[4] then redis.call('DEL', KEYS[1]) end
return stored`;

/** The maximum number of transactions in a generation. */
const MAX_ADDED = 8;
/** The same for the list of those that changed everything. */
const MAX_ADDED_TO_EVERYTHING = 32;

/**
 * Adds transactions to generations: values that have not seen them are outdated from now on, and the others stay. It
 * has no further effect if it runs again. A missing generation needs nothing, because no value is of it. A generation
 * that has too many transactions gets a new token instead, which outdates all values.
 *
 * Transactions of another epoch are forgotten.
 *
 * KEYS: generations. ARGV: a fresh token, the epoch with its "@", then the ids of the transactions for each key, joined
 * by commas.
 */
export const ADD_WRITES = `
local gens = redis.call('MGET', unpack(KEYS))
for i = 1, #KEYS do
  if gens[i] then
    local token, known, epoch = string.match(gens[i], '^([^:]*):?([%d,]*)(.*)$')
    if epoch ~= ARGV[2] then known = '' end
    local list, count, added = ',' .. known .. ',', 0, false
    for xid in string.gmatch(ARGV[i + 2], '%d+') do
      if not string.find(list, ',' .. xid .. ',', 1, true) then
        list, added = list .. xid .. ',', true
      end
    end
    for _ in string.gmatch(list, '%d+') do count = count + 1 end
    if added then
      local generation = ARGV[1]
      if count <= ${MAX_ADDED} then generation = token .. ':' .. string.match(list, '^,*(.*),$') .. ARGV[2] end
      redis.call('SET', KEYS[i], generation, 'KEEPTTL')
    end
  end
end
return 1`;

/**
 * Adds transactions to the list of those that changed everything. If there are too many, "<796" stands for all up to
 * one.
 *
 * KEYS: the list. ARGV: the ids of the transactions, joined by commas; the epoch; life of the list (ms).
 */
export const ADD_WRITES_OF_EVERYTHING = `
local known, epoch = string.match(redis.call('MGET', KEYS[1])[1] or '', '^([%d,<]*)(.*)$')
if epoch ~= ARGV[2] then known = '' end
local list, count, highest, added = ',' .. known .. ',', 0, '0', false
for xid in string.gmatch(ARGV[1], '%d+') do
  if not string.find(list, ',' .. xid .. ',', 1, true) then
    list, added = list .. xid .. ',', true
  end
end
for xid in string.gmatch(list, '%d+') do
  count = count + 1
  if tonumber(xid) > tonumber(highest) then highest = xid end
end
if added then
  local text = string.match(list, '^,*(.*),$')
  if count > ${MAX_ADDED_TO_EVERYTHING} then text = '<' .. highest end
  redis.call('SET', KEYS[1], text .. ARGV[2], 'PX', ARGV[3])
end
return 1`;

/** Frees locks that still have the content of their claims. KEYS: locks. ARGV: the content of each. */
export const RELEASE = `
for i = 1, #KEYS do
  if redis.call('MGET', KEYS[i])[1] == ARGV[i] then redis.call('DEL', KEYS[i]) end
end
return 1`;

/**
 * Invalidates a value's only tag, and replaces the stored value: of the stored and the newer value, the one with the
 * higher version stays, under a new token. If no value with a version is stored under the current token, both are
 * removed, because nothing shows that the newer value is the newest. Transactions that the value which stays may not
 * have seen stay in the generation.
 *
 * KEYS: the value, its generation, then the other values that depend on the tag, then indexes of further ones.
 * ARGV: a fresh token, life of a generation (ms), the envelope under that token, its life (ms), its version, the
 * number of indexes, the oldest transaction that was running when the newer value was read, and its epoch.
 * Returns what became of the newer value: `replaced`, `kept` or `removed`.
 */
export const REPLACE = `${ON_INDEX}
local head, raw, gen = ${GENERATION_START}, unpack(redis.call('MGET', KEYS[1], KEYS[2]))
for i = #KEYS - tonumber(ARGV[6]) + 1, #KEYS do
  local listed = on_index('ZRANGE', KEYS[i], 0, -1)
  for j = 1, #listed, 1000 do redis.call('UNLINK', unpack(listed, j, math.min(j + 999, #listed))) end
end
for i = 3, #KEYS do redis.call('UNLINK', KEYS[i]) end
local version, stored, token, known, epoch = 0, nil, string.match(gen or '', '^([^:]*):?([%d,]*)(.*)$')
if raw and gen then
  stored = string.match(string.sub(raw, head + 1, head + 200), '^([^"]*)"')
  if stored and string.match(stored, '^[^:]*') == token then
    version = tonumber(string.match(string.sub(raw, 1, 2048), '"version":(%d+)')) or 0
  end
end
if version == 0 then
  redis.call('UNLINK', KEYS[1], KEYS[2])
  return 'removed'
end
local isNewer, unseen = version < tonumber(ARGV[5]), {}
for xid in string.gmatch(known, '%d+') do
  if not isNewer or (epoch == ARGV[8] and tonumber(xid) >= tonumber(ARGV[7])) then unseen[#unseen + 1] = xid end
end
local generation = ARGV[1]
if #unseen > 0 then generation = generation .. ':' .. table.concat(unseen, ',') .. epoch end
redis.call('SET', KEYS[2], generation, 'PX', ARGV[2])
if isNewer then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
else
  redis.call('SET', KEYS[1], string.sub(raw, 1, head) .. ARGV[1] .. string.sub(raw, head + 1 + #stored), 'KEEPTTL')
end
return isNewer and 'replaced' or 'kept'`;

/** Removes an index and every key listed in it. KEYS: the index. Its entries share its slot. */
export const DROP_INDEXED = `${ON_INDEX}
local keys = on_index('ZRANGE', KEYS[1], 0, -1)
keys[#keys + 1] = KEYS[1]
local removed = 0
for i = 1, #keys, 1000 do
  removed = removed + redis.call('UNLINK', unpack(keys, i, math.min(i + 999, #keys)))
end
return removed`;

/**
 * Tries every command that the cache needs on an unused key of one kind, and removes the key again. Commands that
 * take memory come first: after a script has written something, Redis no longer refuses it memory.
 *
 * KEYS: the key. ARGV: `index` if it is one. Returns the first refused command and the reason; nothing if none was
 * refused.
 */
export const PROVE = `
local key, refused = KEYS[1], nil
local function try(...)
  if refused then return end
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then refused = {(...), reply.err} end
end
if ARGV[1] == 'index' then
  try('ZADD', key, 1, 'probe')
  try('ZREMRANGEBYSCORE', key, '-inf', 0)
  try('ZCARD', key)
  try('ZRANGE', key, 0, -1)
  try('PEXPIRE', key, 1000)
  try('ZPOPMIN', key, 1)
  try('TIME')
else
  try('SET', key, 'probe', 'PX', 1000)
  try('GET', key)
  try('MGET', key)
  try('GETRANGE', key, 0, 1)
  try('PEXPIRE', key, 1000)
end
try('PTTL', key)
try('UNLINK', key)
try('DEL', key)
return refused`;
