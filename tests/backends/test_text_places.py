"""Positions in a server's text become those in the log's, however the text is cut."""

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.backends.text_places import TextPlaces
from chatsvc.model import File, Source

texts = st.lists(st.sampled_from(["a", "你", "\r", "\n", "\r\n", "😀"])).map("".join)


@given(texts, st.data())
def test_a_position(text: str, data: st.DataObject) -> None:
    removed = data.draw(st.integers(0, len(text)))
    index = data.draw(st.integers(removed, len(text)))
    if (
        text[index - 1 : index + 1] == "\r\n"
        or text[removed - 1 : removed + 1] == "\r\n"
    ):
        return  # no place in the answer's text
    places = TextPlaces()
    at = 0
    while at < len(text):
        length = data.draw(st.integers(1, len(text)))
        places.add(text[at : at + length])
        at += length
    before = text[removed:index].replace("\r\n", "\n")
    assert places.position(index, removed) == len(before)
    assert places.position(0, removed) == 0


def test_a_source_and_a_file() -> None:
    places = TextPlaces()
    places.add("a\r\nb\r\nc")
    url = "https://example.org/"
    assert places.of(Source(url, "t", 3, 7), 0) == Source(url, "t", 2, 5)
    assert places.of(Source(url), 0) == Source(url)
    assert places.of(File("image/png", url), 0) == File("image/png", url)
