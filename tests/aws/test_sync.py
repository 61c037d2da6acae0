"""Folders to S3 and back, over HTTP, with everything that goes wrong on the way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locationnet.aws import transfer
from locationnet.aws.common import AWSError, client, session
from locationnet.aws.sync import RECORD, Moved, listing, pull, push
from locationnet.aws.transfer import PART_BYTES, Location
from locationnet.errors import InputError
from tests.aws.servers import BUCKET, REGION, Answer, Proxy

PLACE = Location(BUCKET, "packs/train")
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"


@pytest.fixture
def s3(aws: str) -> Any:
    return client("s3", REGION)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files, one in a folder, and two that stay where they are."""
    made = tmp_path / "here"
    (made / "deep er").mkdir(parents=True)
    (made / "pack.json").write_text("{}")
    (made / "shard-00000.rec").write_bytes(os.urandom(70_000))
    (made / "deep er" / "naïve[1].idx").write_text("0\t0\n")
    (made / ".hidden").write_text("stays")
    (made / ".state-1").mkdir()
    (made / ".state-1" / "weights.params").write_text("stays")
    return made


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".locationnet" not in path.name
    }


def test_a_folder_goes_up_and_comes_down_again(s3: Any, folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    moved = push(s3, folder, PLACE, advance=lambda done, total: seen.append((done, total)))
    assert moved == Moved(3, 70_000 + 2 + 4)
    assert seen[-1] == (70_006, 70_006)
    assert pull(s3, PLACE, tmp_path / "there").files == 3
    wanted = {name: data for name, data in _contents(folder).items() if not name.startswith(".")}
    assert _contents(tmp_path / "there") == wanted


def test_what_is_the_same_is_not_moved_again(s3: Any, folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    push(s3, folder, PLACE)
    pull(s3, PLACE, there)
    assert push(s3, folder, PLACE) == Moved(same=3)
    assert pull(s3, PLACE, there) == Moved(same=3)
    # Without the record, too: then sha256 decides.
    (folder / RECORD).unlink()
    (there / RECORD).unlink()
    assert push(s3, folder, PLACE) == Moved(same=3)
    assert pull(s3, PLACE, there) == Moved(same=3)


def test_a_change_of_the_same_length_is_moved(s3: Any, folder: Path, tmp_path: Path) -> None:
    push(s3, folder, PLACE)
    pull(s3, PLACE, tmp_path / "there")
    (folder / "deep er" / "naïve[1].idx").write_text("1\t1\n")
    assert push(s3, folder, PLACE) == Moved(1, 4, 2)
    assert pull(s3, PLACE, tmp_path / "there") == Moved(1, 4, 2)
    assert (tmp_path / "there" / "deep er" / "naïve[1].idx").read_text() == "1\t1\n"


def test_only_what_the_mirror_names_is_removed(s3: Any, folder: Path) -> None:
    push(s3, folder, PLACE)
    (folder / "shard-00000.rec").unlink()
    (folder / "pack.json").unlink()
    moved = push(s3, folder, PLACE, mirror=lambda name: name.startswith("shard"))
    assert moved.removed == 1
    assert set(listing(s3, PLACE)) == {"pack.json", "deep er/naïve[1].idx"}


def test_json_files_that_say_that_others_are_whole_come_last(
    proxy: Proxy, folder: Path, tmp_path: Path
) -> None:
    s3 = client("s3", REGION)
    push(s3, folder, PLACE)
    sent = [asked.path for asked in proxy.asked if asked.method == "PUT"]
    assert sent[-1].split("?")[0].endswith("/pack.json")
    pull(s3, PLACE, tmp_path / "there")
    fetched = [asked.path for asked in proxy.asked if asked.method == "GET"]
    assert fetched[-1].split("?")[0].endswith("/pack.json")


def test_an_upload_in_parts_that_was_cut_goes_on(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 5 << 20)  # as small as S3 allows
    (tmp_path / "here").mkdir()
    data = os.urandom(23 << 20)
    (tmp_path / "here" / "weights.params").write_bytes(data)
    s3 = client("s3", REGION)
    failed = Answer(500, b"<Error><Code>InternalError</Code><Message>Sorry.</Message></Error>")
    proxy.rule = lambda asked: failed if "partNumber=3" in asked.path else None
    with pytest.raises(AWSError, match=r"weights\.params: AWS failed \(UploadPart: InternalError"):
        push(s3, tmp_path / "here", PLACE)
    assert listing(s3, PLACE) == {}
    proxy.rule = lambda _: None
    proxy.asked.clear()
    assert push(s3, tmp_path / "here", PLACE) == Moved(1, len(data))
    assert sorted(
        asked.path.split("partNumber=")[1][0] for asked in proxy.asked if asked.method == "PUT"
    ) == ["3", "4", "5"]
    pull(s3, PLACE, tmp_path / "there")
    assert (tmp_path / "there" / "weights.params").read_bytes() == data


def test_a_file_that_changed_since_the_cut_is_sent_from_the_start(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 5 << 20)
    path = tmp_path / "here" / "weights.params"
    path.parent.mkdir()
    path.write_bytes(b"a" * (11 << 20))
    s3 = client("s3", REGION)
    proxy.rule = lambda asked: Answer(500) if "partNumber=2" in asked.path else None
    with pytest.raises(AWSError):
        push(s3, path.parent, PLACE)
    proxy.rule = lambda _: None
    path.write_bytes(b"b" * (11 << 20))
    push(s3, path.parent, PLACE)
    pull(s3, PLACE, tmp_path / "there")
    assert (tmp_path / "there" / "weights.params").read_bytes() == path.read_bytes()


def test_an_upload_that_s3_has_forgotten_begins_anew(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 5 << 20)
    path = tmp_path / "here" / "weights.params"
    path.parent.mkdir()
    path.write_bytes(b"a" * (6 << 20))
    s3 = client("s3", REGION)
    proxy.rule = lambda asked: Answer(500) if "partNumber=2" in asked.path else None
    with pytest.raises(AWSError):
        push(s3, path.parent, PLACE)
    proxy.rule = lambda _: None
    for begun in s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]:
        s3.abort_multipart_upload(Bucket=BUCKET, Key=begun["Key"], UploadId=begun["UploadId"])
    assert push(s3, path.parent, PLACE).files == 1


def test_a_download_that_is_cut_goes_on_where_it_was(proxy: Proxy, tmp_path: Path) -> None:
    s3 = client("s3", REGION)
    data = os.urandom(4 << 20)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "shard.rec").write_bytes(data)
    push(s3, tmp_path / "here", PLACE)
    cuts = iter([True, True])
    proxy.rule = lambda asked: (
        Answer(cut=True) if "shard.rec" in asked.path and next(cuts, False) else None
    )
    assert pull(s3, PLACE, tmp_path / "there").files == 1
    assert (tmp_path / "there" / "shard.rec").read_bytes() == data
    assert len([asked for asked in proxy.asked if asked.path.endswith("shard.rec")]) >= 3


def test_a_download_that_never_gets_on_fails_and_the_next_call_goes_on(
    proxy: Proxy, tmp_path: Path
) -> None:
    s3 = client("s3", REGION)
    data = os.urandom(3 << 20)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "shard.rec").write_bytes(data)
    push(s3, tmp_path / "here", PLACE)
    first = iter([Answer(cut=True)])
    proxy.rule = lambda asked: (
        next(first, Answer(503, SLOW_DOWN)) if "shard.rec" in asked.path else None
    )
    with pytest.raises(AWSError, match=r"shard\.rec: AWS asked to slow down \(SlowDown\)"):
        pull(s3, PLACE, tmp_path / "there")
    assert not (tmp_path / "there" / "shard.rec").exists()
    kept = next((tmp_path / "there").glob(".shard.rec.*.part")).stat().st_size
    assert 0 < kept < len(data)
    proxy.rule = lambda _: None
    proxy.asked.clear()
    pull(s3, PLACE, tmp_path / "there")
    assert (tmp_path / "there" / "shard.rec").read_bytes() == data
    assert not list((tmp_path / "there").glob(".shard*"))


def test_bytes_that_are_not_what_was_uploaded_are_refused(s3: Any, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "shard.rec").write_bytes(b"good")
    push(s3, tmp_path / "here", PLACE)
    where = (PLACE / "shard.rec").arguments
    sha256 = s3.head_object(**where)["Metadata"]
    s3.put_object(**where, Body=b"evil", Metadata=sha256)
    with pytest.raises(AWSError, match="what arrived is not what was uploaded"):
        pull(s3, PLACE, tmp_path / "there")
    assert not list((tmp_path / "there").glob("*shard*"))


def test_keys_that_lead_out_of_the_folder_or_are_hidden_are_left_alone(
    s3: Any, tmp_path: Path
) -> None:
    for key in ("../outside", "a/../../outside", ".hidden", "a//b", "folder/", "fine"):
        s3.put_object(Bucket=BUCKET, Key=f"{PLACE.path}/{key}", Body=b"x")
    assert pull(s3, PLACE, tmp_path / "there").files == 1
    assert _contents(tmp_path) == {"there/fine": b"x"}


def test_s3_that_asks_to_slow_down_is_asked_again(
    proxy: Proxy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    spoiled = iter([Answer(503, SLOW_DOWN), Answer(500)])
    proxy.rule = lambda asked: next(spoiled, None) if "pack.json" in asked.path else None
    assert push(client("s3", REGION), folder, PLACE).files == 3


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (503, "SlowDown", "AWS asked to slow down (SlowDown), at the first try: try again later"),
        (500, "InternalError", "AWS failed (ListObjectsV2: InternalError), at the first try"),
        (403, "AccessDenied", "access denied: ListBucket is not permitted"),
        (400, "ExpiredToken", "the credentials of AWS have expired: sign in again"),
        (403, "InvalidAccessKeyId", "AWS does not know these credentials"),
        (404, "NoSuchBucket", "there is no such bucket"),
        (400, "Odd", "ListObjectsV2 was refused: the words of AWS"),
    ],
)
def test_each_refusal_is_one_line_that_says_what_and_where(
    proxy: Proxy, status: int, code: str, said: str
) -> None:
    text = f"<Error><Code>{code}</Code><Message>the words of AWS\nmore</Message></Error>"
    proxy.rule = lambda _: Answer(status, text.encode())
    with pytest.raises(AWSError) as caught:
        listing(client("s3", REGION), PLACE)
    message = str(caught.value)
    assert message.startswith(f"s3://{BUCKET}/packs/train: {said}")
    assert "\n" not in message
    assert caught.value.code == code


def test_a_bucket_that_is_not_there_is_named(s3: Any, folder: Path) -> None:
    with pytest.raises(AWSError, match="s3://nobody-has-this/x: there is no such bucket"):
        push(s3, folder, Location("nobody-has-this", "x"))


def test_no_credentials_and_no_network_are_said(
    aws: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    session.cache_clear()
    request.addfinalizer(session.cache_clear)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AWSError, match="no credentials of AWS were found: sign in"):
        listing(client("s3", REGION), PLACE)
    session.cache_clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(AWSError, match="AWS cannot be reached"):
        listing(client("s3", REGION), PLACE)
    session.cache_clear()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(AWSError, match="nobody"):
        client("s3", REGION)


def test_a_record_that_cannot_be_kept_or_read_does_not_matter(s3: Any, folder: Path) -> None:
    (folder / RECORD).mkdir()
    assert push(s3, folder, PLACE).files == 3
    (folder / RECORD).rmdir()
    (folder / RECORD).write_text('{"place": 1')
    assert push(s3, folder, PLACE) == Moved(same=3)


def test_a_folder_that_is_not_there_is_named(s3: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: there is no such folder"):
        push(s3, tmp_path / "none", PLACE)


@pytest.mark.parametrize("text", ["s3://", "s3://B/x", "http://bucket/x", "bucket", "s3://ab//x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected s3://BUCKET/FOLDER"):
        Location.parse(text)


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{3,20}[a-z0-9]", fullmatch=True), st.lists(
    st.text(st.characters(exclude_characters="/\n", exclude_categories=["Cs"]), min_size=1),
    max_size=4,
))  # fmt: skip
def test_an_address_reads_as_it_is_written(bucket: str, parts: list[str]) -> None:
    place = Location(bucket, "/".join(parts))
    assert Location.parse(str(place)) == place


def test_a_part_is_as_large_as_s3_asks_for() -> None:
    assert 5 << 20 <= PART_BYTES <= 5 << 30
