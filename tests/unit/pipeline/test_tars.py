from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.pipeline.output.tars import BadTar, Member, members


def tar(*entries: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as writer:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            writer.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def read(data: bytes) -> list[Member]:
    return list(members(io.BytesIO(data), "test.tar"))


def odd(kind: bytes, name: str = "a.mp4", link: str = "") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as writer:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        writer.addfile(info)
    return sink.getvalue()


names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", categories=("L", "N", "P")), min_size=1
).filter(lambda name: not name.endswith("/"))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=5),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_members_are_those_that_tarfile_finds(entries: list[tuple[str, bytes]], form: int) -> None:
    data = tar(*entries, form=form)
    with tarfile.open(fileobj=io.BytesIO(data)) as reader:
        expected = [(m.name, m.offset_data, m.size) for m in reader]
    assert [(m.name.rstrip("/"), m.offset, m.size) for m in read(data)] == expected


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_tar_is_refused_or_stays_within_the_file(data: st.DataObject) -> None:
    good = bytearray(tar(("a.mp4", b"x" * 700), ("b" * 120 + ".json", b"{}"), ("c.txt", b"c")))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(good))
    except BadTar:
        return
    assert all(m.offset >= 0 and m.offset + m.size <= len(good) for m in found)


@settings(max_examples=50)
@given(st.binary(max_size=2000))
def test_bytes_that_are_no_tar_are_refused(data: bytes) -> None:
    if data[:512].strip(b"\0"):
        with pytest.raises(BadTar):
            read(data)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x.mp4", "a/../../x.mp4", "a\\b.mp4", "a\n"])
def test_names_that_leave_the_folder_are_marked(name: str) -> None:
    (member,) = read(tar((name, b"x")))
    assert member.problem


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_marked(kind: bytes) -> None:
    (member,) = read(odd(kind, link="/etc/passwd"))
    assert "link or device" in member.problem


def test_folders_are_left_out() -> None:
    assert read(odd(tarfile.DIRTYPE, "clips")) == []


def resized(data: bytes, field: bytes) -> bytes:
    """The tar with another size field in its first header, and the checksum that fits."""
    head = bytearray(data[:512])
    head[124:136] = field
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data[512:]


@pytest.mark.parametrize(
    "field", [b"77777777777\0", b"\xff" * 11 + b"\x00", b"\x80" + b"\x7f" * 11]
)
def test_sizes_beyond_the_file_or_below_zero_are_refused(field: bytes) -> None:
    with pytest.raises(BadTar, match="claims"):
        read(resized(tar(("a.mp4", b"x" * 100)), field))


def test_a_tar_that_was_cut_off_is_refused() -> None:
    data = tar(("a.mp4", b"x" * 5000))
    for length in (100, 512, 3000, 512 * 11):
        with pytest.raises(BadTar):
            read(data[:length])


def test_an_endless_extended_header_is_refused() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as writer:
        info = tarfile.TarInfo("a.mp4")
        info.pax_headers = {"comment": "x" * 200_000}
        writer.addfile(info)
    with pytest.raises(BadTar, match="extended header"):
        read(sink.getvalue())


def test_compressed_tars_are_refused() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as writer:
        writer.addfile(tarfile.TarInfo("a.mp4"))
    with pytest.raises(BadTar):
        read(sink.getvalue())


def test_keys_end_at_the_first_dot_of_the_last_part() -> None:
    (member,) = read(tar(("v1.2/clip.left.JPG", b"x")))
    assert (member.key, member.extension) == ("v1.2/clip", "left.jpg")
