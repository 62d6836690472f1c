import math
import sys

import pytest

from chipmend.errors import MissingExtraError
from chipmend.extras import imported


def test_what_is_installed_is_imported():
    assert imported("math", extra="any") is math
    assert imported("xml.dom", extra="any") is sys.modules["xml.dom"]


def test_what_is_missing_is_named_with_the_extra_that_installs_it():
    with pytest.raises(MissingExtraError, match="this needs no_such_library") as caught:
        imported("no_such_library.part", extra="onnx")
    assert "pip install 'chipmend[onnx]'" in caught.value.hint
