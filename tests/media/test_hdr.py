"""High dynamic range, rendered from known light, comes out as an ordinary screen shows it."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipmill.schemas.records import Stream
from clipmill.stages.media.cut_encode import binary
from clipmill.stages.media.frames import sample, scan
from clipmill.stages.media.hdr import PQ
from clipmill.stages.media.probe import probe

Array = np.ndarray[Any, np.dtype[Any]]

WIDTH, HEIGHT = 256, 64
BT709_TO_BT2020 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)
PATCHES = {  # linear BT.709, 1 being 100 nit
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    "gray": (0.18, 0.18, 0.18),
    "white": (1.0, 1.0, 1.0),
    "bright": (4.0, 4.0, 4.0),
    "sun": (10.0, 10.0, 10.0),
}


def pq(light: Array) -> Array:
    """SMPTE ST 2084: light, 1 being 100 nit, to a code from 0 to 1."""
    power = (light / 100) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: Array) -> Array:
    """ARIB STD-B67 for a display of 1000 nit, whose gamma of 1.2 is taken off by luminance."""
    luminance = np.maximum(light @ [0.2627, 0.6780, 0.0593], 1e-9) / 10
    scene = light / 10 * luminance[..., None] ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def render(path: Path, transfer: str, extra: str = "") -> Path:
    """Eight patches side by side, three frames, ten bits, without loss but that of the colour."""
    light = np.repeat(np.array(list(PATCHES.values())), WIDTH // len(PATCHES), axis=0)
    wide = np.maximum(light @ BT709_TO_BT2020.T, 0)
    coded = pq(wide) if transfer == PQ else hlg(wide)
    row = np.round(coded * 65535).astype("<u2")
    frames = np.broadcast_to(row, (3, HEIGHT, WIDTH, 3)).tobytes()
    tags = f"lossless=1:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range=limited"
    subprocess.run(
        [
            *(binary(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb48le"),
            *("-s", f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "-"),
            *("-vf", "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le"),
            *("-c:v", "libx265", "-x265-params", f"log-level=error:pools=1:{tags}{extra}"),
            *("-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc"),
            str(path),
        ],
        input=frames,
        check=True,
    )
    return path


def patches(picture: Array) -> dict[str, Array]:
    """The middle of each patch, as one RGB triple."""
    step = picture.shape[1] // len(PATCHES)
    middle = picture[picture.shape[0] // 2, step // 2 :: step].astype(int)
    return dict(zip(PATCHES, middle, strict=True))


def first(path: Path) -> Array:
    return next(iter(scan(path, probe(path))))[1]


@pytest.fixture(scope="module")
def pq_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("hdr") / "pq.mp4", PQ)


def test_pq_looks_as_the_filters_for_clips_make_it(pq_film: Path) -> None:
    chain = (
        "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
        "zscale=t=bt709:m=bt709:r=tv,format=yuv444p,scale=in_color_matrix=bt709,format=rgb24"
    )
    command = [binary(), "-v", "error", "-i", str(pq_film), "-vf", chain, "-frames:v", "1"]
    raw = subprocess.run([*command, "-f", "rawvideo", "-"], check=True, capture_output=True).stdout
    theirs = patches(np.frombuffer(raw, np.uint8).reshape(HEIGHT, WIDTH, 3))
    for name, ours in patches(first(pq_film)).items():
        assert np.abs(ours - theirs[name]).max() <= 4, name


@pytest.mark.parametrize("transfer", [PQ, "arib-std-b67"])
def test_colours_keep_their_hue_and_light_its_order(tmp_path: Path, transfer: str) -> None:
    seen = patches(first(render(tmp_path / "film.mp4", transfer)))
    for channel, name in enumerate(("red", "green", "blue")):
        others = np.delete(seen[name], channel)
        assert seen[name][channel] > 120, name
        assert others.max() < 40, name  # taken for BT.709, a quarter of the light is in these
    for name in ("black", "gray", "white", "bright", "sun"):
        assert np.ptp(seen[name]) <= 3, name
    brightness = [int(seen[name].mean()) for name in ("black", "gray", "white", "bright", "sun")]
    assert brightness == sorted(set(brightness))
    assert brightness[0] <= 2
    assert brightness[-1] >= 252


def test_the_brightest_light_a_file_declares_is_white(tmp_path: Path, pq_film: Path) -> None:
    told = patches(first(render(tmp_path / "told.mp4", PQ, ":max-cll=400,100")))
    assert told["bright"].min() >= 252
    assert patches(first(pq_film))["bright"].max() < 230


def test_sampled_pictures_are_mapped_too(pq_film: Path) -> None:
    facts = probe(pq_film)
    (frame,) = sample(pq_film, facts, [facts.picture.first or 0])
    seen = patches(np.asarray(Image.open(BytesIO(frame.jpeg))))
    wanted = patches(first(pq_film))
    assert max(np.abs(seen[name] - wanted[name]).max() for name in ("gray", "white", "sun")) <= 4


def test_real_hdr_is_neither_dull_nor_dark(real_media: Path) -> None:
    for name in ("hdr10_pq_av1_portrait.mp4", "hlg10_hevc_9frames.mp4"):
        path = real_media / "broken" / name
        facts = probe(path)
        picture: Stream = facts.picture
        mapped = next(iter(scan(path, facts, width=128)))[1]
        picture.transfer = "bt709"
        taken_for_sdr = next(iter(scan(path, facts, width=128)))[1]
        assert 60 < mapped.mean() < 180
        assert np.ptp(mapped, axis=2).mean() > 1.15 * np.ptp(taken_for_sdr, axis=2).mean()
