"""Reading ahead changes when items are fetched, and nothing else."""

import collections
import contextvars
import gc
import itertools
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_claude_code.api.read_ahead import read_ahead, work_ahead

PATIENCE = 10.0
"""Seconds after which a thread that does not answer is a failure."""


class Source:
    """Items 0 to n - 1, which tells from outside what has been fetched, and by whom."""

    def __init__(self, n: int, error: BaseException | None = None) -> None:
        self.fetched = [threading.Event() for _ in range(n)]
        self.thread: threading.Thread | None = None
        self.error = error

    def __iter__(self) -> Iterator[int]:
        self.thread = threading.current_thread()
        for i, event in enumerate(self.fetched):
            event.set()
            yield i
        if self.error is not None:
            raise self.error

    @property
    def count(self) -> int:
        return sum(event.is_set() for event in self.fetched)

    def assert_ended(self) -> None:
        assert self.thread is not None
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000])
def test_items_keep_their_order(n: int) -> None:
    source = Source(n)

    assert list(read_ahead(source)) == list(range(n))
    source.assert_ended()


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_an_error_comes_after_the_items_before_it(n: int, error: BaseException) -> None:
    source = Source(n, error)
    items = read_ahead(source)

    assert list(itertools.islice(items, n)) == list(range(n))
    with pytest.raises(type(error)) as caught:
        next(items)

    assert caught.value is error
    source.assert_ended()


def test_an_item_may_be_an_exception() -> None:
    items = [ValueError("an item"), None]

    assert list(read_ahead(items)) == items


def test_the_next_item_is_fetched_while_one_is_in_use() -> None:
    source = Source(3)
    items = read_ahead(source)

    assert next(items) == 0
    # Nobody asks for another item here.
    assert source.fetched[1].wait(PATIENCE)
    assert list(items) == [1, 2]


def test_at_most_three_items_exist_at_a_time() -> None:
    source = Source(100)

    for item in read_ahead(source):
        # Without a limit the thread would be through in microseconds.
        if item < 3:
            assert not source.fetched[item + 3].wait(0.02)
        assert source.count <= item + 3


def test_nothing_is_fetched_before_the_first_item_is_asked_for() -> None:
    source = Source(3)

    read_ahead(source)

    assert source.thread is None


def test_items_are_fetched_by_a_thread_that_keeps_no_process_alive() -> None:
    source = Source(2)
    items = read_ahead(source)
    next(items)

    assert source.thread is not threading.current_thread()
    assert source.thread is not None
    assert source.thread.daemon
    items.close()


@pytest.mark.parametrize("used", [1, 2, 5])
def test_a_consumer_that_stops_early_ends_the_thread(used: int) -> None:
    source = Source(1000)

    for item in read_ahead(source):
        if item == used - 1:
            break
    gc.collect()

    source.assert_ended()
    assert source.count <= used + 2


def test_a_consumer_that_fails_ends_the_thread() -> None:
    source = Source(1000)

    def consume() -> None:
        for item in read_ahead(source):
            raise RuntimeError(item)

    with pytest.raises(RuntimeError, match="0"):
        consume()
    gc.collect()

    source.assert_ended()


@pytest.mark.parametrize("ends_with", [None, ValueError("nobody hears it")])
def test_a_consumer_may_stop_during_a_fetch(ends_with: Exception | None) -> None:
    go_on, threads = threading.Event(), []

    def slow() -> Iterator[int]:
        threads.append(threading.current_thread())
        yield 0
        go_on.wait(PATIENCE)
        if ends_with is not None:
            raise ends_with
        yield 1
        yield 2

    items = read_ahead(slow())
    next(items)
    items.close()
    go_on.set()

    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


def test_the_fetches_see_the_context_of_the_consumer() -> None:
    dag_id: contextvars.ContextVar[str] = contextvars.ContextVar("dag_id")

    def fetch() -> Iterator[str]:
        yield dag_id.get()

    dag_id.set("the consumer's")

    assert list(read_ahead(fetch())) == ["the consumer's"]


def test_the_fetches_do_not_change_the_context_of_the_consumer() -> None:
    dag_id: contextvars.ContextVar[str] = contextvars.ContextVar("dag_id", default="the consumer's")

    def fetch() -> Iterator[None]:
        dag_id.set("the fetch's")
        yield None

    list(read_ahead(fetch()))

    assert dag_id.get() == "the consumer's"


class Work:
    """Doubles numbers when it is told to, and tells from outside what has begun."""

    def __init__(self, failing: int | None = None) -> None:
        self.begun: list[int] = []
        self.may_end: dict[int, threading.Event] = collections.defaultdict(threading.Event)
        self.failing = failing
        self._changed = threading.Condition()

    def __call__(self, number: int) -> int:
        with self._changed:
            self.begun.append(number)
            self._changed.notify_all()
        assert self.may_end[number].wait(PATIENCE)
        if number == self.failing:
            raise ValueError(number)
        return 2 * number

    def wait_until_begun(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) == count, PATIENCE)


@given(order=st.permutations(range(7)), threads=st.integers(2, 4))
@settings(max_examples=30)
def test_results_keep_their_order_in_whatever_order_they_come(order: list[int], threads: int) -> None:
    work = Work()
    for number in range(7):
        work.may_end[number].clear()
    ended = threading.Thread(target=lambda: [work.may_end[number].set() for number in order])
    ended.start()
    assert list(work_ahead(work, range(7), threads)) == [2 * number for number in range(7)]
    ended.join()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_in_its_place(threads: int) -> None:
    work = Work(failing=2)
    for number in range(5):
        work.may_end[number].set()
    results = work_ahead(work, range(5), threads)
    assert [next(results), next(results)] == [0, 2]
    with pytest.raises(ValueError, match="2"):
        next(results)


def test_no_more_items_are_begun_than_there_are_threads() -> None:
    work = Work()
    results = work_ahead(work, itertools.count(), 3)
    work.may_end[0].set()
    assert next(results) == 0
    work.wait_until_begun(4)
    results.close()
    for number in range(1, 4):
        work.may_end[number].set()
    for thread in threading.enumerate():
        if thread.name.startswith("claude-code-work-ahead"):
            thread.join(PATIENCE)
            assert not thread.is_alive()
    # Nothing is begun once nobody waits.
    assert sorted(work.begun) == [0, 1, 2, 3]
