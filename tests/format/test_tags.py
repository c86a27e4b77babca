from __future__ import annotations

import pytest

from tb_gradscope.format import tags


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (tags.schema_tag, "schema"),
        (tags.record_tag, "record"),
        (lambda series: tags.event_tag(series, "changed"), "event"),
    ],
)
def test_split_undoes(make, part):
    assert tags.split_tag(make("0123456789abcdef")) == (part, "0123456789abcdef")


@pytest.mark.parametrize(
    "tag",
    ["", "loss", "gradscope", "gradscope/", "gradscope/schema", "gradscope/schema/",
     "gradscope/other/0123", "x/gradscope/schema/0123"],
)  # fmt: skip
def test_tags_of_others(tag):
    assert tags.split_tag(tag) is None


def test_series_id_depends_on_every_part():
    names = [["a", "b"], ["ab"], ["b", "a"], ["a", "b", ""], ["a"], [], [""], ["😀"], ["\ud800"]]
    found = [tags.series_id(one) for one in names]
    assert len(set(found)) == len(names)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in found)


def test_series_id_is_for_ever():
    """A restarted training, years later, must find the same series."""
    assert tags.series_id(["loss", "w1", "w2"]) == tags.series_id(iter(["loss", "w1", "w2"]))
    assert tags.series_id(["loss", "w1", "w2"]) == "09981e904a740e7e"


def test_what_is_repeated_in_every_event_is_short():
    assert len(tags.PLUGIN_CONTENT) < 100
    assert len(tags.record_tag(tags.series_id(["x" * 1000]))) < 50
