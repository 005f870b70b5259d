"""Files that try to make the reader read other files or call other machines get neither."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.errors import ClipmillError, InputError, Unreadable
from clipmill.schemas.records import Part, Probe, Stream, Video
from clipmill.stages.clip.cut_clip import CutClip
from clipmill.stages.media.probe import probe
from clipmill.stages.media.source import local
from clipmill.stages.source.probe_media import ProbeMedia, Settings
from tests.rendered import render


class Listener:
    def __init__(self) -> None:
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


def playlists(folder: Path, port: int) -> list[Path]:
    """Playlists in disguise; each points at a real film beside it and at a listening port."""
    secret = render(folder / "secret.ts", [20]).path
    url = f"http://127.0.0.1:{port}/x.ts"
    texts = {
        "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXTINF:1,\n{url}\n"
        "#EXT-X-ENDLIST\n",
        "hls.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile '{secret}'\nfile '{url}'\n",
        "concat.txt": f"ffconcat version 1.0\nfile '{url}'\n",
        "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet '
        f'mimeType="video/mp4"><Representation id="1"><BaseURL>{url}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>",
        "sdp.mp4": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} "
        "RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }
    paths = []
    for name, text in texts.items():
        (folder / name).write_text(text)
        paths.append(folder / name)
    return paths


def test_a_disguised_playlist_reads_no_secret_and_calls_nobody(
    tmp_path: Path, listener: Listener
) -> None:
    for path in playlists(tmp_path, listener.port):
        with pytest.raises(Unreadable):
            probe(path)
        with pytest.raises(Unreadable):
            ProbeMedia(Settings()).process(Part(Video(id=path.name, source=str(path))))
    assert listener.calls == 0


def test_the_cutter_refuses_a_playlist_too(tmp_path: Path, listener: Listener) -> None:
    clock = Clock("v0", 1, 90_000)
    stream = Stream(0, "video", "h264", clock, width=192, height=128, first=0, end=90_000)
    believed = Probe("hls", 0, 1.0, 0, [stream])
    for path in playlists(tmp_path, listener.port):
        with pytest.raises(ClipmillError):
            CutClip().cut(path, believed, {"clip": Span(clock, 0, 90_000)}, tmp_path / "out")
    assert listener.calls == 0
    assert list((tmp_path / "out").glob("*.mp4")) == []


@pytest.mark.parametrize(
    "uri",
    ["concat://a|b", "simplecache::memory://x", "lavfi://testsrc", "subfile://x", "ftp://x/y"],
)
def test_addresses_outside_the_allow_list_are_refused(uri: str) -> None:
    with pytest.raises(InputError), local(uri):
        pass
