"""Forms as clients write them: however a file is named, the photo arrives as it was sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.server.uploads import part_name

Make = Callable[..., bytes]
OSLO = (250, 250, 250)

# Beside name="file", in any order.
NAMED = {
    "a plain filename": b'filename="photo.jpg"',
    "no filename": b"",
    "an empty filename": b'filename=""',
    "an unquoted filename": b"filename=photo.jpg",
    "only a coded filename": b"filename*=UTF-8''Z%C3%BCrich%20%28HB%29.jpg",
    "a coded filename with a language": b"filename*=iso-8859-1'de'Z%FCrich.jpg",
    "both filenames": b"filename=\"Z?rich.jpg\"; filename*=UTF-8''Z%C3%BCrich.jpg",
    "a filename in pieces": b"filename*0*=UTF-8''Z%C3%BC; filename*1=\"rich\"; filename*2=.jpg",
    "a coded filename of an unknown charset": b"filename*=klingon''%FF%FE",
    "a filename in UTF-8": 'filename="Zürich 日本 😀.jpg"'.encode(),
    "a filename in Latin-1": 'filename="Zürich.jpg"'.encode("latin-1"),
    "a filename with escaped quotes": rb'filename="a \"; name=\"top_k\" b.jpg"',
    "a filename with a semicolon": b'filename="a;name=top_k;b.jpg"',
    "a filename that ends with an escaped backslash": rb'filename="photos\\"',
    "a filename that ends with a bare backslash": b'filename="C:\\photos\\"',
    "a long filename": b"filename*=UTF-8''" + b"%E6%97%A5" * 85,
    "upper case and blanks": b'FileName = "photo.jpg"',
}
HEADERS = {
    "no type": b"",
    "a wrong type": b"Content-Type: text/plain; charset=utf-16\r\n",
    "an odd type": b"CONTENT-TYPE: IMAGE/JPG\r\n",
    "no type at all": b"Content-Type: \r\n",
    "bytes": b"content-type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n",
    "JSON": b"Content-Type: application/json\r\n",
}


def _form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def _field(disposition: bytes, content: bytes, headers: bytes = b"") -> bytes:
    return b"Content-Disposition: form-data; " + disposition + b"\r\n" + headers + b"\r\n" + content


def _answer(client: Any, body: bytes, path: str = "/locate", more: str = "") -> Any:
    kind = {"Content-Type": f"Multipart/Form-Data;{more} Boundary=b"}
    reply = client.ask("POST", path, body, kind)
    assert reply.status == 200, reply.body
    return reply.json


def _place(answer: Any) -> str:
    return str(answer["predictions"][0]["place"])


@pytest.fixture
def photo(make_photo: Make) -> bytes:
    """Bytes that no charset reads: had it been text on its way, it would be damaged."""
    made = make_photo(OSLO, quality=95)
    with pytest.raises(UnicodeDecodeError):
        made.decode()
    return made


@pytest.mark.parametrize("filename", NAMED.values(), ids=NAMED.keys())
@pytest.mark.parametrize("first", [True, False], ids=["name first", "name last"])
def test_a_file_is_a_file_whatever_its_filename(
    client: Any, photo: bytes, filename: bytes, first: bool
) -> None:
    order = [b'name="file"', filename]
    disposition = b"; ".join(filter(None, order if first else reversed(order)))
    # Options stand before it and after it.
    parts = [
        _field(b'name="top_k"', b"2"),
        _field(disposition, photo),
        _field(b'name="explain"', b"true"),
    ]
    answer = _answer(client, _form(*parts))
    assert _place(answer) == "Oslo, NO"
    assert len(answer["predictions"]) == 2
    alone = _answer(client, _form(*reversed(parts)))
    assert alone["predictions"] == answer["predictions"]


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS.keys())
@pytest.mark.parametrize("filename", [b"", b'; filename="photo.jpg"'], ids=["no name", "name"])
def test_a_file_is_a_file_whatever_its_type(
    client: Any, photo: bytes, headers: bytes, filename: bytes
) -> None:
    part = _field(b'name="file"' + filename, photo, headers)
    for more in ("", " charset=UTF-8;", " charset=iso-8859-1;"):
        assert _place(_answer(client, _form(part), more=more)) == "Oslo, NO"


@pytest.mark.parametrize(
    "name", [b"name=file", b'name = "file"', b"NAME=file ", b"name*=utf-8''file"]
)
def test_the_name_of_a_part_is_written_in_many_ways_too(
    client: Any, photo: bytes, name: bytes
) -> None:
    assert _place(_answer(client, _form(_field(name, photo)))) == "Oslo, NO"
    assert _place(_answer(client, _form(_field(name + b"; filename=a", photo)))) == "Oslo, NO"


def test_a_file_without_a_filename_has_the_size_limit_of_others(
    client: Any, make_photo: Make
) -> None:
    photo = make_photo(OSLO) + bytes(150_000)
    assert _place(_answer(client, _form(_field(b'name="file"', photo)))) == "Oslo, NO"
    for size in (200_001, 2_000_000):
        reply = client.raw(
            _form(_field(b'name="file"', bytes(size))), "multipart/form-data; boundary=b"
        )
        assert reply.status == 413
        assert "bytes" in reply.problem


def test_a_batch_takes_files_in_order_with_and_without_filenames(
    client: Any, make_photo: Make
) -> None:
    photos = [make_photo(OSLO), make_photo((10, 10, 10)), make_photo((250, 5, 5))]
    names = [b"", b"; filename*=UTF-8''a.jpg", b'; filename="a.jpg"']
    parts = [
        _field(b'name="file"' + name, photo) for name, photo in zip(names, photos, strict=True)
    ]
    found = _answer(client, _form(*parts), "/locate/batch")["results"]
    cities = [_place(one["answer"]).split(",")[0] for one in found]
    assert cities == ["Oslo", "Nairobi", "San Francisco"]
    reply = client.ask(
        "POST",
        "/locate/batch",
        _form(*[parts[0]] * 33),
        {"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert reply.status == 400
    assert "up to 32 parts named file" in reply.problem


@pytest.mark.parametrize(
    ("disposition", "headers"),
    [(b'name="image"', b""), (b'name="image"; filename="a.jpg"', b""), (b"filename=a.jpg", b""),
     (b'name="url"', b""), (b'name="file[]"; filename="a"', b""), (b'name=""; filename="a"', b"")],
)  # fmt: skip
def test_parts_of_other_names_are_refused(
    client: Any, photo: bytes, disposition: bytes, headers: bytes
) -> None:
    for body in (
        _form(_field(disposition, photo, headers)),
        _form(_field(disposition, photo, headers), _field(b'name="file"', photo)),
    ):
        reply = client.raw(body, "multipart/form-data; boundary=b")
        assert reply.status == 400
        assert "named file" in reply.problem


def test_a_part_without_a_disposition_is_refused(client: Any, photo: bytes) -> None:
    body = _form(b"Content-Type: image/jpeg\r\n\r\n" + photo)
    assert client.raw(body, "multipart/form-data; boundary=b").status == 400


def test_an_empty_file_without_a_filename_is_400(client: Any) -> None:
    for name in (b'name="file"', b'name="file"; filename=""'):
        reply = client.raw(_form(_field(name, b"")), "multipart/form-data; boundary=b")
        assert reply.status == 400
        assert "empty" in reply.problem


@given(st.binary())
def test_any_disposition_has_a_name_or_none(disposition: bytes) -> None:
    json.dumps(part_name(disposition)).encode()
    assert part_name(b'form-data; name="file"; filename="' + disposition) == "file" or (
        b"name" in disposition.lower()
    )


@given(st.text(st.characters(codec="utf-8", exclude_characters='"\\\r\n')))
def test_a_filename_never_hides_the_name_beside_it(filename: str) -> None:
    written = f'filename="{filename}"'.encode()
    assert part_name(b'form-data; name="file"; ' + written) == "file"
    assert part_name(b"form-data; " + written + b"; name=file") == "file"
