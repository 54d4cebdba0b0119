"""L2 that several machines share: Redis, Valkey, or whatever speaks their protocol.

Keys, all below one prefix: `e:{name}` an entry, with the server's own TTL; `t:{tag}` and `all`,
sorted sets of names by their end; `generation`; `replaced`, when an entry last took the place of
another. A tag set only proposes: the tags inside the entry decide, so a set that names too much is
harmless. A server that evicts may lose a set, so there `forget` looks at every entry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ServerGone
from redis.exceptions import ResponseError
from redis.retry import Retry

from cache_store.errors import CorruptEntry, StoreUnavailable
from cache_store.stores.base import Stored, named, new_generation
from cache_store.stores.breaker import Breaker
from cache_store.stores.framing import frame, head_end, tags_in, unframe

T = TypeVar("T")

_TIMEOUT_S = 0.05  # how long a request may wait for the server, once; then the breaker is open
_GENERATION_S = 0.5  # how old a known generation may be: asking each time would undo L1
_PAGE = 500  # names asked for at once
_PEEK = 1024  # bytes that hold the head of nearly every entry

# KEYS: entry, generation, replaced, all, tag sets. ARGV: value, ms to live, name, expected
# generation or "".
# Each set lives as long as its longest entry and loses the ended ones as it grows: by the server's
# clock, since a client whose clock is ahead would take live ones of others for ended.
_PUT = """
if ARGV[4] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[4] then return 0 end
local time = redis.call('TIME')
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('SET', KEYS[3], time[1] .. '.' .. time[2])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local now = time[1] + time[2] / 1e6
for i = 4, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
  redis.call('ZADD', KEYS[i], now + ARGV[2] / 1000, ARGV[3])
  if redis.call('PTTL', KEYS[i]) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  end
end
return 1
"""
# What the client raises where the wire carries nonsense, beside its own errors.
_NONSENSE = (ValueError, TypeError, LookupError, AttributeError)


class RedisStore:
    """See above. `url` as for `redis.Redis.from_url`; its query may set `socket_timeout`.

    A server that is slow, gone or talks nonsense costs one timeout; then calls fail at once, until
    a ping in the background is answered.
    """

    def __init__(self, url: str, prefix: str = "qwen-ui:") -> None:
        options = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
        # once more, since a restarted server has closed every old connection
        retry = Retry(NoBackoff(), 1, supported_errors=(ServerGone,))
        self._client = Redis.from_url(url, **options, retry=retry, protocol=2)
        self._where = url.rpartition("@")[2]  # for messages: no password
        self._prefix = prefix
        self._put = self._client.register_script(_PUT)
        self._breaker = Breaker(self._answers)
        self._replaced: object = None
        self._known = (0, float("-inf"))  # generation, and until when it is not asked for again

    def get(self, name: str) -> Stored | None:
        try:
            data = self._guard(Redis.get, self._entry(name))
        except StoreUnavailable as error:
            if isinstance(error.__cause__, ResponseError):
                raise CorruptEntry(f"not an entry: {error.__cause__}") from error
            raise
        if data is None:
            return None
        stored = unframe(name, data)
        return stored if stored.expires_at > time.time() else None

    def peek(self, name: str) -> Stored | None:
        return self.get(name)  # to the server each reading is a use

    def put(self, name: str, stored: Stored, generation: int | None = None) -> bool:
        keep_ms = int((stored.expires_at - time.time()) * 1000)
        if keep_ms <= 0:
            self.delete(name)  # what was there before is not the value any more
            return True
        sets = [self._prefix + "all", *(f"{self._prefix}t:{tag}" for tag in stored.tags)]
        keys = [self._entry(name), self._prefix + "generation", self._prefix + "replaced", *sets]
        expected = "" if generation is None else str(generation)
        values: list[Any] = [frame(name, stored), keep_ms, name, expected]
        return bool(self._guard(lambda client: self._put(keys, values, client)) == 1)

    def delete(self, name: str) -> None:
        self._drop([name])

    def forget(self, tag: str) -> int:
        self._renew()  # first: what is written from here on was not asked to be forgotten
        name = named(tag)
        found = {name} if name is not None else set(self.names(tag))
        if name is None and self._may_evict():
            found.update(self._tagged(tag, self._scan()))
        count = sum(self._drop(page) for page in _pages(found))
        self._renew()  # again: others may have copied what was not yet deleted
        return count

    def clear(self) -> int:
        self._renew()
        count = 0
        for kind in "eat":  # entries, `all`, tag sets
            found = self._guard(lambda c, k: list(c.scan_iter(f"{self._prefix}{k}*", _PAGE)), kind)
            gone = sum(int(self._guard(Redis.unlink, *page)) for page in _pages(found))
            count += gone if kind == "e" else 0
        self._renew()
        return count

    def generation(self) -> int:
        known, until = self._known
        if time.monotonic() < until:
            return known
        return self._note(self._guard(self._ask_generation))

    def replaced(self) -> object:
        return self._replaced

    def names(self, tag: str | None = None) -> Iterator[str]:
        if tag is None:
            return self._scan()
        name = named(tag)
        if name is not None:
            with suppress(CorruptEntry):
                return iter([name] if self.get(name) is not None else [])
            return iter(())
        return self._tagged(tag, dict.fromkeys(self._members(f"t:{tag}")))

    def touch(self, names: Iterable[str]) -> None:
        for page in _pages(map(self._entry, names)):
            self._guard(Redis.touch, *page)

    def sweep(self) -> None:
        """Ended entries are the server's business, and so is its budget."""

    def size(self) -> tuple[int, int]:
        """(entries that were written and have not ended, bytes of the whole server)."""
        return self._guard(self._size)  # type: ignore[no-any-return]

    def lost(self) -> Mapping[str, int]:
        return {}  # what ends or has no room is the server's business

    def close(self) -> None:
        self._breaker.close()
        self._client.close()

    def _guard(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`call(client, ...)`, unless the breaker is open."""
        if self._breaker.reason is not None:
            raise StoreUnavailable(self._breaker.reason)
        try:
            return call(self._client, *args, **kwargs)
        except (RedisError, OSError, *_NONSENSE) as error:
            reason = f"{self._where}: {error or type(error).__name__}"
            if not isinstance(error, ResponseError):  # those come from a server that is well
                self._breaker.open(reason)
                self._client.connection_pool.disconnect()
            raise StoreUnavailable(reason) from error

    def _size(self, client: Any) -> tuple[int, int]:
        seconds, micros = client.time()
        entries = client.zcount(self._prefix + "all", seconds + micros / 1e6, "+inf")
        return int(entries), int(client.info("memory")["used_memory"])

    def _answers(self) -> bool:
        try:
            return self._client.ping() is True
        except (RedisError, OSError, *_NONSENSE):
            self._client.connection_pool.disconnect()
            return False

    def _entry(self, name: str) -> str:
        return f"{self._prefix}e:{name}"

    def _ask_generation(self, client: Any) -> int:
        key = self._prefix + "generation"
        found, self._replaced = client.mget(key, self._prefix + "replaced")
        if found is None:  # a new server, or one that lost it: then nothing older is to be trusted
            client.set(key, new_generation(), nx=True)
            found = client.get(key)
        return int(found)

    def _renew(self) -> None:
        new = new_generation()
        self._guard(Redis.set, self._prefix + "generation", new)
        self._note(new)

    def _note(self, generation: int) -> int:
        self._known = (generation, time.monotonic() + _GENERATION_S)
        return generation

    def _drop(self, names: list[str]) -> int:
        keys = [self._entry(name) for name in names]
        dropped = int(self._guard(Redis.unlink, *keys))
        self._guard(Redis.zrem, self._prefix + "all", *names)
        return dropped

    def _members(self, key: str) -> Iterator[str]:
        cursor = 0
        while True:
            cursor, found = self._guard(Redis.zscan, self._prefix + key, cursor, count=_PAGE)
            yield from _texts(name for name, _ in found)
            if cursor == 0:
                return

    def _scan(self) -> Iterator[str]:
        """Every name there is, each once."""
        start, cursor = self._entry(""), 0
        seen: set[str] = set()
        while True:
            cursor, found = self._guard(Redis.scan, cursor, start + "*", _PAGE)
            fresh = {key.removeprefix(start) for key in _texts(found)} - seen
            yield from fresh
            seen |= fresh
            if cursor == 0:
                return

    def _tagged(self, tag: str, names: Iterable[str]) -> Iterator[str]:
        """Those of the names whose entry is there and has the tag."""
        for page in _pages(names):
            heads = self._guard(self._peek, page)
            yield from (n for n, head in zip(page, heads, strict=True) if tag in tags_in(head))

    def _peek(self, client: Any, names: list[str]) -> list[bytes]:
        """The beginning of each entry, as far as its tags go."""
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.getrange(self._entry(name), 0, _PEEK - 1)
        heads = [h if isinstance(h, bytes) else b"" for h in pipe.execute(raise_on_error=False)]
        for at, head in enumerate(heads):
            if len(head) == _PEEK < head_end(head):
                heads[at] = client.getrange(self._entry(names[at]), 0, head_end(head))
        return heads

    def _may_evict(self) -> bool:
        told = self._guard(Redis.info, "memory")
        return bool(told.get("maxmemory_policy") != "noeviction")


def _texts(found: Iterable[bytes]) -> Iterator[str]:
    """What is no text is no name of ours."""
    for name in found:
        with suppress(UnicodeDecodeError):
            yield name.decode()


def _pages(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while page := list(islice(rest, _PAGE)):
        yield page
