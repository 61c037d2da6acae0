"""Compare `locationnet import geoclip` with the package geoclip itself, and measure both.

Knows PyTorch; run it with the dependency group `recipes`. CLIP's published weights are not needed:
the first part gives both sides one small tower of random numbers, with GeoCLIP's own head, encoder
and places, and compares what they answer; the second gives them random numbers in the shape of the
real ViT-L/14, and measures what an import and a photo cost.

::

    python scripts/check_geoclip.py FOLDER_OF_PHOTOS
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from geoclip import GeoCLIP
from numpy.typing import NDArray
from PIL import Image, ImageOps
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from locationnet.geo.partition import one_each
from locationnet.model.locator import load_model

# How far the two may be apart: the location encoder's float32 is good to 0.04 of a logit.
ABSOLUTE, RELATIVE = 1e-4, 0.06
_MEASURED = """
import json, resource, sys, time
start = time.perf_counter()
{work}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps({{"seconds": time.perf_counter() - start, "peak_gb": peak, **found}}))
"""
_IMPORT = """
from pathlib import Path
from locationnet.importing.geoclip import import_geoclip
import_geoclip(Path(sys.argv[2]), clip=sys.argv[1])
found = {}
"""
_LOCATE = """
from locationnet.model.locator import load_model
locator = load_model(sys.argv[1], threads=int(sys.argv[3]))
loaded = time.perf_counter() - start
locator.locate(sys.argv[2]).to_dict()
begun = time.perf_counter()
for _ in range(5):
    locator.locate(sys.argv[2]).to_dict()
found = {"load": loaded, "photo": (time.perf_counter() - begun) / 5}
"""


class Remembered(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not always installed
    """A location encoder that encodes the same places once."""

    def __init__(self, encoder: torch.nn.Module, places: torch.Tensor) -> None:
        super().__init__()
        with torch.no_grad():
            self.encoded = encoder(places)

    def forward(self, _places: torch.Tensor) -> torch.Tensor:
        """Return what was encoded."""
        return self.encoded


def main() -> None:
    """Print the comparison and the measurements; exit 1 where the two differ by too much."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("folder", type=Path, help="photos to compare on")
    parser.add_argument("--photos", type=int, default=50)
    parser.add_argument("--skip-large", action="store_true", help="compare only")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = GeoCLIP(clip_pretrained=False).eval()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        photos = _as_png(options.folder, work / "photos", options.photos)
        large = model.image_encoder.CLIP
        model.image_encoder.CLIP = _small_tower(work / "small")
        good = _compare(model, work, photos)
        if not options.skip_large:
            model.image_encoder.CLIP = large
            large.save_pretrained(work / "large")
            _measure(model, work, photos[0])
    sys.exit(not good)


def _as_png(folder: Path, out: Path, count: int) -> list[Path]:
    """Write photos upright and as PNG.

    geoclip takes them as they are stored, and this package decodes large JPEGs at a reduced scale.
    """
    out.mkdir()
    written: list[Path] = []
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for path in found[:: max(1, len(found) // count)][:count]:
        with Image.open(path) as image:
            small = ImageOps.exif_transpose(image).convert("RGB")
        small.thumbnail((1000, 1000))
        written.append(out / f"{len(written):03d}.png")
        small.save(written[-1])
    return written


def _small_tower(out: Path) -> CLIPModel:
    config = CLIPConfig(
        projection_dim=768,
        text_config={
            "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 2, "vocab_size": 100, "bos_token_id": 0, "eos_token_id": 2,
        },
        vision_config={
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "patch_size": 28,
        },
    )  # fmt: skip
    tower = CLIPModel(config).eval()
    with torch.no_grad():
        # As they are born, all photos look alike to it.
        for name, tensor in tower.named_parameters():
            if name.startswith(("vision_model", "visual_projection")) and tensor.ndim > 1:
                tensor.normal_(0, 2 * tensor[0].numel() ** -0.5)
    tower.save_pretrained(out)
    return tower


def _compare(model: Any, work: Path, photos: list[Path]) -> bool:
    subprocess.run(
        ["locationnet", "import", "geoclip", "--clip", work / "small", "-o", work / "bundle"],
        check=True,
        env=_path_with_us(),
    )
    gallery = model.gps_gallery
    lat, lng = _places()
    grid, rows = one_each(lat, lng, 10)
    locator = load_model(work / "bundle")
    encoder = model.location_encoder
    # What transformers 5 takes by default resizes with torchvision, a little differently; CLIP was
    # trained, and GeoCLIP measured, with Pillow's.
    model.image_encoder.image_processor = CLIPImageProcessorPil()
    other, others = CLIPImageProcessor(), 0.0
    model.location_encoder = Remembered(encoder, gallery)
    same, swapped, beyond = 0, 0, 0
    absolute, relative, pixels = 0.0, 0.0, 0.0
    for photo in photos:
        with Image.open(photo) as image:
            prepared = model.image_encoder.preprocess_image(image.convert("RGB"))
            by_other = other(images=image.convert("RGB"), return_tensors="np")["pixel_values"]
        own = locator.prepare(photo)
        pixels = max(pixels, float(np.abs(prepared[0].numpy() - own).max()))
        others = max(others, float(np.abs(by_other[0] - own).max()))
        with torch.no_grad():
            theirs = model(prepared, gallery).softmax(dim=-1)[0].double().numpy()[rows]
        theirs /= theirs.sum()
        answer = locator.locate(photo)
        ours = answer.probabilities
        first = [place.class_index for place in answer.places]
        wanted = np.argsort(-theirs, kind="stable")[:5]
        same += first == wanted.tolist()
        swapped += bool(np.abs(theirs[first] / theirs[wanted] - 1).max() <= RELATIVE)
        difference = np.abs(ours - theirs)
        beyond += int((difference > ABSOLUTE + RELATIVE * theirs).sum())
        absolute = max(absolute, float(difference.max()))
        relative = max(relative, float(np.abs(ours[wanted] / theirs[wanted] - 1).max()))
        (their_first,), _ = model.predict(photo, 1)
        if not np.allclose(their_first, gallery[rows[wanted[0]]]):
            sys.exit(f"{photo}: predict() answers {their_first}, not the most probable place")
    model.location_encoder = encoder
    print(f"photos                              {len(photos)}")
    print(f"places                              {len(grid):,} of {len(gallery):,} rows")
    print(f"pixels, largest difference          {pixels:.1e}")
    print(f"with torchvision in its processor   {others:.1e}")
    print(f"the same first five, in order       {same}")
    print(f"the same but for near ties          {swapped}")
    print(f"probabilities, largest difference   {absolute:.1e}")
    print(f"of the first five, of themselves    {relative:.2%}")
    print(f"beyond {ABSOLUTE:g} and {RELATIVE:.0%} of themselves   {beyond}")
    return beyond == 0 and swapped == len(photos)


def _places() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import geoclip.model

    path = Path(geoclip.model.__file__).parent / "gps_gallery" / "coordinates_100K.csv"
    lat, lng = np.loadtxt(path, delimiter=",", skiprows=1, unpack=True)
    return lat, lng


def _measure(model: Any, work: Path, photo: Path) -> None:
    print(f"\nViT-L/14 of random numbers, {os.cpu_count()} processors")
    bundle = work / "large-bundle"
    done = _measured(_IMPORT, str(work / "large"), str(bundle))
    size = sum(path.stat().st_size for path in bundle.iterdir()) / 1e6
    print(f"import      {done['seconds']:.0f} s, {done['peak_gb']:.1f} GB at most; {size:.0f} MB")
    for threads in (1, 2):
        done = _measured(_LOCATE, str(bundle), str(photo), str(threads))
        print(
            f"bundle      {done['photo']:.2f} s a photo with {threads} thread(s), after"
            f" {done['load']:.1f} s of loading; {done['peak_gb']:.1f} GB at most"
        )
    start = time.perf_counter()
    model.predict(photo, 5)
    seconds = time.perf_counter() - start
    print(f"predict()   {seconds:.1f} s a photo with {torch.get_num_threads()} threads")


def _measured(work: str, *arguments: str) -> dict[str, Any]:
    code = _MEASURED.format(work=work)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _path_with_us() -> dict[str, str]:
    here = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}


if __name__ == "__main__":
    main()
