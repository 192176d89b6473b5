/*
 * The protocol of the cache as a model for the checker SPIN, which explores every interleaving:
 * two tags (A, B), three writes, two readers, each of an answer of one or two values.
 *
 *   spin -a docs/coherence.pml && gcc -O3 -DSAFETY -DMEMLIM=9000 -o pan pan.c && ./pan -m100000 -w26
 *
 * (`apt-get install spin gcc`; run it in an empty folder.) Options such as -DSECOND=0 are given to `spin -a`.
 *
 * It stands for: load(), join(), fill(): src/cache/reader/resource-reader.ts; help(), Poll: src/cache/invalidation/;
 * check(), answer(): src/cache/response/; the d_steps on Redis: src/cache/redis/scripts.ts.
 * A d_step is one step: a script, a round trip, or a statement. Tags are in different slots of a Cluster, so that each is
 * helped, removed and checked in a step of its own.
 *
 * Not in the model: Redis away or restored, log entries that are too many, snapshots of another epoch, cached responses,
 * TTLs. What the answers of mutations show is not checked.
 *
 * Each of these must be found wrong:
 *   NO_HELP                            backwards
 *   NO_FINAL_CHECK                     fractured
 *   FILL_BEFORE_HELP                   fractured
 *   SECOND=0 ANSWERS=2 JOIN_BY_TOKEN   backwards
 *   REPLACING=2 REPLACE_WITHOUT_HELP   backwards
 *   REPLACING=2 REPLACE_FORGETS        backwards
 */

/* Configuration: which writes (bits 1, 2 and 4) touch which tag. SQL makes those that the API does not. */
#ifndef A_WRITES
#define A_WRITES 3
#endif
#ifndef B_WRITES
#define B_WRITES 6
#endif
#ifndef API_WRITES
#define API_WRITES 2
#endif
/* Which of the API's writes store the new value of A in place of the old one. */
#ifndef REPLACING
#define REPLACING 0
#endif
/* How many writes a generation names before a new token takes its place. */
#ifndef MAX_XIDS
#define MAX_XIDS 2
#endif
/* How often Redis loses a generation. */
#ifndef EVICTIONS
#define EVICTIONS 0
#endif
/* How often an answer that is not of one moment is executed again before the last resort. */
#ifndef RETRIES
#define RETRIES 0
#endif
/* Which processes (bits 1 and 2) also poll the log. */
#ifndef POLLING
#define POLLING 0
#endif
/* How many answers each of the two readers makes. */
#ifndef ANSWERS
#define ANSWERS 1
#endif
/* The process of the second reader: 1, or 0 as the first. */
#ifndef SECOND
#define SECOND 1
#endif

#define A 0
#define B 1
#define WRITES_OF(t) (t == A -> A_WRITES : B_WRITES)
#define SEES(snapshot, writes) (((writes) & ~(snapshot)) == 0)
#define COUNT(set) (((set) & 1) + (((set) >> 1) & 1) + (((set) >> 2) & 1))
#define MAX(x, y) (x > y -> x : y)

/* PostgreSQL. Sets of writes are bits; a snapshot is the set of the writes that it sees. */
byte db;
/* What was committed, after each number of commits. */
byte commits, history[4];

/* Redis: generations (a token, 0: none; the writes that it names), and stored values (the token and the snapshot). */
byte token[2] = 1, xids[2], lastToken[2] = 1;
byte valueToken[2] = 1, valueSnapshot[2];

/* Processes: what each knows of the log (K), and what of that it knows to be effective (H). */
byte known[2], helped[2];

/* Loads that other readers of the process may join: the generation under which each was claimed, and its result. */
byte flightToken[4], flightXids[4], flightSnapshot[4];
bool isLanded[4];
#define F(t) (2 * p + t)

/* The last moment (number of commits) that a finished answer has shown, and the mutations that have been answered. */
byte momentRead, written;

mtype = { HIT, JOIN, LOAD };

/* The log check of a stored value. */
#ifdef NO_LOG_CHECK
#define IS_ACCEPTED(t) true
#else
#define IS_ACCEPTED(t) SEES(valueSnapshot[t], (known[p] & WRITES_OF(t)))
#endif

/* Whether a load was claimed under the generation that a reader has found. */
#ifdef JOIN_BY_TOKEN
#define MAY_JOIN(t) (flightToken[F(t)] == found)
#else
#define MAY_JOIN(t) (flightToken[F(t)] == found && flightXids[F(t)] == xids[t])
#endif

/* A value whose token is not the current one is as none, because tokens never return. */
inline forget(t) {
  if
  :: valueToken[t] != token[t] -> valueToken[t] = 0; valueSnapshot[t] = 0
  :: else
  fi
}

inline renew(t) { lastToken[t]++; token[t] = lastToken[t]; xids[t] = 0; forget(t) }
inline remove(t) { token[t] = 0; xids[t] = 0; forget(t) }

/* The script HELP, for one tag. */
inline help(t) {
#ifndef NO_HELP
  if
  :: token[t] == 0 || SEES(xids[t], (target & ~helped[p] & WRITES_OF(t)))
  :: else ->
    if
    :: COUNT(xids[t] | (target & ~helped[p] & WRITES_OF(t))) > MAX_XIDS -> renew(t)
    :: else -> xids[t] = xids[t] | (target & ~helped[p] & WRITES_OF(t))
    fi
  fi
#else
  skip
#endif
}

/* What begins in the step of the caller: learns a snapshot, and completes the invalidation of all its writes. */
inline learn(snapshot) { known[p] = known[p] | snapshot; target = known[p] }
inline helpAll() {
  d_step { help(A) }
  d_step { help(B); helped[p] = helped[p] | target; target = 0 }
}

proctype Poll(byte p) {
  byte target;
end:
  do
  :: d_step { !SEES(known[p], db) -> learn(db) }
    helpAll()
  od
}

inline replace() {
  if
  :: token[A] != 0 && valueToken[A] == token[A] ->
    if
    :: !SEES(valueSnapshot[A], (snapshot & A_WRITES)) -> valueSnapshot[A] = snapshot
    :: else
    fi;
    lastToken[A]++;
    token[A] = lastToken[A];
    valueToken[A] = token[A];
#ifdef REPLACE_FORGETS
    xids[A] = 0
#else
    xids[A] = xids[A] & ~valueSnapshot[A]
#endif
  :: else -> remove(A)
  fi
}

proctype WriteByApi(byte w) {
  byte p, snapshot, target;
  d_step { db = db | w; commits++; history[commits] = db }
  if
  :: w & REPLACING ->
#ifdef REPLACE_WITHOUT_HELP
    snapshot = db
#else
    d_step { snapshot = db; learn(snapshot) }
    helpAll()
#endif
  :: else
  fi;
  d_step {
    if
    :: w & REPLACING -> replace()
    :: (w & A_WRITES) && !(w & REPLACING) -> remove(A)
    :: else
    fi
  }
  d_step {
    if
    :: w & B_WRITES -> remove(B)
    :: else
    fi;
    written = written | w;
    snapshot = 0
  }
}

proctype WriteBySql(byte w) { d_step { db = db | w; commits++; history[commits] = db } }

proctype Evict() {
  byte left = EVICTIONS;
  do
  :: d_step { left > 0 -> remove(A); left-- }
  :: d_step { left > 0 -> remove(B); left-- }
  :: break
  od
}

/* FILL */
inline fill(t) {
  if
  :: token[t] == tokens[t] -> valueToken[t] = tokens[t]; valueSnapshot[t] = snapshots[t]
  :: else
  fi
}

/* MGET: whether the reader of t has a hit, may join a load, or must load. */
inline lookUp() {
  found = token[t];
  if
  :: found != 0 && valueToken[t] == found && SEES(valueSnapshot[t], xids[t]) && IS_ACCEPTED(t) ->
    way = HIT; snapshots[t] = valueSnapshot[t]; tokens[t] = found
  :: else ->
    if
    :: found != 0 && MAY_JOIN(t) -> way = JOIN
    :: else -> way = LOAD
    fi
  fi
}

/* Joins the load of its process. If that has ended meanwhile, the model loads; in the code the value is still there. */
inline join() {
  d_step {
    isLanded[F(t)] || flightToken[F(t)] != found ->
    if
    :: isLanded[F(t)] && flightToken[F(t)] == found -> snapshots[t] = flightSnapshot[F(t)]; tokens[t] = found
    :: else -> way = LOAD
    fi
  }
}

/* CLAIM, the statement, HELP, FILL. */
inline load() {
  d_step {
    if
    :: token[t] == 0 -> renew(t)
    :: else
    fi;
    tokens[t] = token[t];
    if
    :: SECOND == 0 ->
      flightToken[F(t)] = token[t]; flightXids[F(t)] = xids[t]; flightSnapshot[F(t)] = 0; isLanded[F(t)] = false
    :: else
    fi
  }
  d_step { snapshots[t] = db; learn(snapshots[t]) }
#ifdef FILL_BEFORE_HELP
  d_step { fill(t) }
#endif
#ifdef JOIN_BEFORE_HELP
  land();
#endif
  helpAll();
  if
  :: SECOND == 0 -> land()
  :: else
  fi;
  d_step {
    fill(t);
    if
    :: flightToken[F(t)] == tokens[t] ->
      flightToken[F(t)] = 0; flightXids[F(t)] = 0; flightSnapshot[F(t)] = 0; isLanded[F(t)] = false
    :: else
    fi
  }
}

/* From now on others may join the load, and show its value before it is stored. */
inline land() {
  d_step {
    if
    :: flightToken[F(t)] == tokens[t] -> flightSnapshot[F(t)] = snapshots[t]; isLanded[F(t)] = true
    :: else
    fi
  }
}

inline check(t) { isCurrent = isCurrent && token[t] == tokens[t] && SEES(snapshots[t], xids[t]) }

/* Every answer must be the state of one moment, not before what had been shown when it began. */
inline answer() {
  d_step {
    low = 9; high = 0; m = 0;
    do
    :: m > commits -> break
    :: else ->
      if
      :: ((!readsA || (history[m] & A_WRITES) == (snapshots[A] & A_WRITES)) && (!readsB || (history[m] & B_WRITES) == (snapshots[B] & B_WRITES))) ->
        high = m;
        low = (low == 9 -> m : low)
      :: else
      fi;
      m++
    od;
    assert(low != 9); /* fractured */
    assert(SEES((readsA -> snapshots[A] : 255), (writtenBefore & A_WRITES)) && SEES((readsB -> snapshots[B] : 255), (writtenBefore & B_WRITES))); /* stale */
    assert(high >= readBefore); /* backwards */
    momentRead = MAX(momentRead, MAX(low, readBefore));
    low = 0; high = 0; m = 0; found = 0; way = HIT; t = 0; isLast = false; readBefore = 0; writtenBefore = 0; helpedBefore = 0;
    readsA = false; readsB = false; isCurrent = false;
    snapshots[A] = 0; snapshots[B] = 0; tokens[A] = 0; tokens[B] = 0; retries = 0
  }
}

proctype Reader(byte p) {
  byte snapshots[2], tokens[2], found, target, t;
  mtype way = HIT;
  byte helpedBefore, readBefore, writtenBefore, low, high, m, left = ANSWERS;
  byte retries;
  bool isNew, isCurrent, readsA, readsB, isLast;
  do
  :: left == 0 -> break
  :: left > 0 ->
    left--;
    isNew = true;
    retries = RETRIES;
again:
    if
    :: t = A; readsA = true; readsB = false; isLast = true
    :: t = B; readsA = false; readsB = true; isLast = true
    :: t = A; readsA = true; readsB = true; isLast = false
    :: t = B; readsA = true; readsB = true; isLast = false
    fi;
next:
    found = 0;
    d_step {
      if
      :: isNew ->
        readBefore = momentRead; writtenBefore = written; helpedBefore = helped[p];
        isNew = false
      :: else
      fi;
      lookUp()
    }
    if
    :: way == JOIN -> join()
    :: else
    fi;
    if
    :: way == LOAD -> load()
    :: else
    fi;
    if
    :: isLast
    :: else -> isLast = true; t = 1 - t; goto next
    fi;
    if
    :: !(readsA && readsB) || SEES(helpedBefore, (snapshots[A] | snapshots[B]))
    :: else ->
#ifdef NO_FINAL_CHECK
      skip
#else
      isCurrent = true;
      d_step { check(A) }
      d_step { check(B) }
      if
      :: isCurrent
      :: !isCurrent && retries > 0 -> retries--; goto again
      :: !isCurrent && retries == 0 ->
        /* The last resort: one transaction. */
        d_step { snapshots[A] = db; snapshots[B] = db; learn(db) }
        helpAll()
      fi
#endif
    fi;
    answer()
  od
}

inline write(w) {
  if
  :: w & API_WRITES -> run WriteByApi(w)
  :: else -> run WriteBySql(w)
  fi
}

init {
  atomic {
    write(1);
    write(2);
    write(4);
    if
    :: POLLING & 1 -> run Poll(0)
    :: else
    fi;
    if
    :: POLLING & 2 -> run Poll(1)
    :: else
    fi;
    run Reader(0);
    run Reader(SECOND);
    if
    :: EVICTIONS > 0 -> run Evict()
    :: else
    fi
  }
}
