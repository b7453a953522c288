"""The errors and warnings a caller can meet. Each message says what was expected, what was got and what to do."""


class InrCodecError(ValueError):
    """Base of every error this package raises on purpose."""


class ConfigError(InrCodecError):
    """A setting, or a combination of settings, that cannot be meant."""


class UnsupportedArray(InrCodecError):
    """An array that no layer of the format can hold (object dtype, more than 2^31 voxels)."""


class CorruptChunk(InrCodecError):
    """Bytes that are not, or are no longer, a stream of this codec."""


class UnsupportedFormat(InrCodecError):
    """A stream of a format version that this library does not read."""


class LimitExceeded(InrCodecError):
    """A chunk that is larger than `decode(limit=)` or the environment variable INR_CODEC_LIMIT allows."""


class IncompleteArray(InrCodecError):
    """A large array of which chunks are missing: what is written stays, and the same command continues."""


class GenerationLoss(UserWarning):
    """A source that is lossy already is encoded again, and loses again."""


class MetadataLoss(UserWarning):
    """What belongs to a volume, its orientation say, has no place in the format that it is written to."""


class TargetMissed(UserWarning):
    """A stream takes more bytes than were asked for, for a reason that lies in the data; the message names it."""
