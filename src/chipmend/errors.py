"""Every error that chipmend raises on purpose: what is wrong, where, and what to do next.

Each class also inherits the builtin it refines, so callers may catch either.
"""


class ChipmendError(Exception):
    """Base of all our errors: says what is wrong, then what to do about it.

    Args:
        message: What is wrong, and where.
        hint: What to do about it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n  hint: {hint}" if hint else message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling, so that a worker process can hand its error to the campaign."""
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[ChipmendError], message: str, hint: str) -> ChipmendError:
    return kind(message, hint=hint)


def in_a_line(error: BaseException) -> str:
    """What kind of error it is, and the first line of what it says.

    Example:
        >>> in_a_line(KeyError()), in_a_line(ValueError("wrong"))
        ('KeyError: no message', 'ValueError: wrong')
    """
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"


class ArrayError(ChipmendError, ValueError):
    """An array that cannot exist, such as one without rows."""


class FaultMapError(ChipmendError, ValueError):
    """A fault map that does not describe the array it is used with."""


class LotError(ChipmendError, ValueError):
    """A lot file, a CSV of faults or a list of chips that cannot be used."""


class DataError(ChipmendError, ValueError):
    """A data set that is missing, damaged or does not fit the network."""


class NetworkError(ChipmendError, ValueError):
    """A network, or weights for it, that the array cannot run."""


class MetricError(ChipmendError, ValueError):
    """A metric that does not give one finite score per sample."""


class ConstraintError(ChipmendError, ValueError):
    """A constraint that no chip can meet."""


class RepairError(ChipmendError, ArithmeticError):
    """A repair that went astray, such as a training that diverged."""


class RtlError(ChipmendError, RuntimeError):
    """A simulation of the array's Verilog that cannot be run."""


class PlanError(ChipmendError, ValueError):
    """A plan with missing, misspelt or impossible fields."""


class TableError(ChipmendError, ValueError):
    """A resilience table that cannot answer what is asked of it."""


class BundleError(ChipmendError, ValueError):
    """A bundle that is damaged, altered, or not for what it is used with."""


class StoreError(ChipmendError, OSError):
    """A run folder that cannot be read or written."""


class RunInUseError(StoreError):
    """A second campaign in a run folder that another one is using."""


class FingerprintError(StoreError):
    """A run that would go on under other conditions than it was started with."""


class WorkerError(ChipmendError, RuntimeError):
    """A worker process that could not start or do its work."""


class MissingExtraError(ChipmendError, ImportError):
    """An optional library that is not installed."""
