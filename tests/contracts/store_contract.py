"""What every store has to do."""

import pytest

from chipmend.errors import RunInUseError


class StoreContract:
    """Inherit, and give a fixture ``open_store`` that opens the same store each time."""

    def test_a_fact_is_kept_until_it_is_replaced(self, open_store):
        store = open_store()
        assert store.fact("a") is None
        store.keep_fact("a", {"b": [1, None, 0.1]})
        store.keep_fact("a", {"b": 2})
        store.close()
        again = open_store()
        assert again.fact("a") == {"b": 2}
        again.close()

    def test_results_are_kept_by_kind_and_job(self, open_store):
        store = open_store()
        for kind, job in (("x", "1"), ("x", "2"), ("y", "1")):
            store.begin(kind, job)
            store.finish(kind, job, {"of": kind + job})
        store.close()
        again = open_store()
        assert again.results("x") == {"1": {"of": "x1"}, "2": {"of": "x2"}}
        assert again.results("y") == {"1": {"of": "y1"}}
        assert again.results("z") == {}
        again.close()

    def test_an_interrupted_attempt_is_lost_and_stays_on_the_bill(self, open_store):
        store = open_store()
        store.begin("x", "done")
        store.progress("x", "done", 5.0, 50.0)
        store.finish("x", "done", 1)
        store.begin("x", "cut")
        store.progress("x", "cut", 0.25, 3.0)
        assert store.lost() == (0.0, 0.0)
        store.close()
        again = open_store()
        assert again.lost() == (0.25, 3.0)
        again.begin("x", "cut")
        again.finish("x", "cut", 2)
        assert again.lost() == (0.25, 3.0)
        again.close()

    def test_an_attempt_that_failed_leaves_no_result_and_its_work_is_lost(self, open_store):
        store = open_store()
        store.begin("x", "a")
        store.progress("x", "a", 0.25, 3.0)
        store.fail("x", "a", 0.5, 6.0)
        assert store.results("x") == {}
        assert store.lost() == (0.5, 6.0)
        store.begin("x", "a")
        store.finish("x", "a", 1)
        store.close()
        again = open_store()
        assert again.results("x") == {"a": 1}
        assert again.lost() == (0.5, 6.0)
        again.close()

    def test_an_attempt_that_is_begun_again_was_lost(self, open_store):
        """As when the worker process died over it."""
        store = open_store()
        store.begin("x", "a")
        store.progress("x", "a", 0.25, 3.0)
        store.begin("x", "a")
        assert store.lost() == (0.25, 3.0)
        store.progress("x", "a", 0.5, 6.0)
        store.finish("x", "a", 1)
        assert store.lost() == (0.25, 3.0)
        store.close()

    def test_a_second_opening_is_refused_until_the_first_is_closed(self, open_store):
        store = open_store()
        with pytest.raises(RunInUseError, match="another campaign"):
            open_store()
        store.close()
        open_store().close()
