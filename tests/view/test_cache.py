from __future__ import annotations

from tb_gradscope.view.cache import Cache


def test_stamp_must_match():
    cache = Cache(10)
    cache.put("a", 1, "value", 1)
    assert cache.get("a", 1) == "value"
    assert cache.get("a", 2) is None
    assert cache.get("b", 1) is None


def test_least_recently_used_go_first():
    cache = Cache(3)
    for key in "abc":
        cache.put(key, 0, key, 1)
    cache.get("a", 0)
    cache.put("d", 0, "d", 1)
    assert [cache.get(key, 0) for key in "abcd"] == ["a", None, "c", "d"]


def test_replacing_frees():
    cache = Cache(3)
    for stamp in range(10):
        cache.put("a", stamp, stamp, 2)
    cache.put("b", 0, "b", 1)
    assert cache.get("a", 9) == 9
    assert cache.get("b", 0) == "b"


def test_latest_is_kept_though_too_large():
    cache = Cache(3)
    cache.put("a", 0, "a", 1)
    cache.put("b", 0, "b", 100)
    assert cache.get("a", 0) is None
    assert cache.get("b", 0) == "b"
