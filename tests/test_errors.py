import builtins
import inspect
import pickle

import pytest

from chipmend import errors
from chipmend.errors import ChipmendError

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ChipmendError)
]

REFINES = {
    "ArrayError": ValueError,
    "FaultMapError": ValueError,
    "LotError": ValueError,
    "DataError": ValueError,
    "NetworkError": ValueError,
    "MetricError": ValueError,
    "ConstraintError": ValueError,
    "BundleError": ValueError,
    "RepairError": ArithmeticError,
    "RtlError": RuntimeError,
    "PlanError": ValueError,
    "TableError": ValueError,
    "StoreError": OSError,
    "RunInUseError": OSError,
    "FingerprintError": OSError,
    "WorkerError": RuntimeError,
    "MissingExtraError": ImportError,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hint", ["", "try {this}\nand that"])
def test_an_error_survives_pickling_with_its_hint(kind, hint):
    error = kind("chip 7 of 'lot%d' is broken", hint=hint)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert (again.message, again.hint) == (error.message, error.hint)
    once_more = pickle.loads(pickle.dumps(again))
    assert str(once_more) == str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_what_is_wrong_and_then_what_to_do(kind):
    assert str(kind("it is broken", hint="mend it")) == "it is broken\n  hint: mend it"
    assert str(kind("it is broken")) == "it is broken"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not ChipmendError])
def test_an_error_is_the_builtin_that_it_refines(kind):
    assert issubclass(kind, REFINES[kind.__name__])
    assert any(vars(builtins).get(base.__name__) is base for base in kind.__mro__[2:-3])


def test_every_error_is_ours_and_is_caught_as_the_builtin():
    for kind in KINDS:
        with pytest.raises(ChipmendError):
            raise kind("x")
        with pytest.raises(REFINES.get(kind.__name__, ChipmendError)):
            raise kind("x")


def test_errors_of_a_run_folder_are_told_apart():
    assert issubclass(errors.RunInUseError, errors.StoreError)
    assert issubclass(errors.FingerprintError, errors.StoreError)
