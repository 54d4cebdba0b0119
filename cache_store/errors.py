"""The errors of the cache, one small tree.

CacheStoreError
├── InvalidPicture      the bytes are no picture that can be decoded
│   └── PictureTooLarge its header announces more pixels than allowed; nothing was decoded
├── CorruptEntry        stored bytes that are not what was stored; never served
├── StoreUnavailable    a store cannot be opened, read or written (disk full, server gone)
├── UnknownStore        a URL that names no store, or one whose client is not installed
├── BadPack             an archive that is none, is of another version, or was cut short
├── CannotRepeat        a served answer cannot be run again (its picture or its model is gone)
└── FlightsClosed       no new computation may begin: the program ends
"""


class CacheStoreError(Exception):
    """Base of everything this package raises on purpose."""


class InvalidPicture(CacheStoreError):
    """The bytes cannot be decoded as a picture."""


class PictureTooLarge(InvalidPicture):
    """The header announces more pixels than allowed; no pixel was decoded."""

    def __init__(self, width: int, height: int, max_pixels: int) -> None:
        size = f"{width}x{height}" if width else "what the header announces"  # 0: it did not say
        super().__init__(f"{size} is more than {max_pixels} pixels")
        self.width, self.height, self.max_pixels = width, height, max_pixels


class StoreUnavailable(CacheStoreError):
    """A store cannot be opened, read or written; the chat goes on without it."""


class CorruptEntry(CacheStoreError):
    """Stored bytes that are not an entry, or not the entry that was stored."""


class UnknownStore(CacheStoreError):
    """A store's URL is not understood, or its client is not installed; says what to do."""


class CannotRepeat(CacheStoreError):
    """A served answer cannot be run again, now or later: its picture or its model is gone."""


class BadPack(CacheStoreError):
    """An archive that is none, is of another version, or was cut short; says where."""


class FlightsClosed(CacheStoreError):
    """A new computation was to begin after single_flight.SingleFlight.close."""
