"""Table 2 and Figure 5 of the SCI paper: its codec with one part exchanged at a time, and our measured rules.

As in the paper: medical volumes at 80 times, biological ones at 100 times; with and without partition at three rates.
Networks alone, the paper's own values (INRCodec(preset="paper"), which stores parameters in 4.7 bits), equal arithmetic
for every row. Quick: effort "fast", two medical and two biological volumes, one seed; full: "default", all, two seeds.
"""

import json
import time
from pathlib import Path

from numpy.typing import NDArray

from benchmarks.harness.data import KINDS, MEDICAL, thresholds
from benchmarks.harness.environment import environment
from benchmarks.harness.measures import measure
from inr_codec import INRCodec, inspect

VARIANTS: dict[str, dict] = {
    "SCI": {},
    "equal partition": {"partition": "equal"},
    "no partition": {"partition": "none"},
    "f_r = 1": {"funnel_ratio": 1.0},
    "f_r = 0.5": {"funnel_ratio": 0.5},
    "by size": {"allocation": "size"},
    "by D": {"allocation": "concentration"},
    "equal allocation": {"allocation": "equal"},
    "at most 15 blocks": {"max_blocks": 15},
    "measured partition": {"partition": "measured"},
    "measured allocation": {"allocation": "measured"},
    "all our rules": {"preset": None, "layers": "network"},
}
"""The paper's eight rows; its cut into fewer blocks (its medical volumes, 256 x 256 x 256, are 16 times as large as
these chunks, of which 50 blocks leave each network little); rules of ours in the place of its own, and all of ours."""
CURVES = ("SCI", "at most 15 blocks", "equal partition", "no partition", "all our rules")
CURVE_RATIOS = (64, 256, 1024)
MEDICAL_RATIO, BIOLOGICAL_RATIO = 80, 100


def cases(names: list[str], full: bool) -> list[tuple[str, str, float]]:
    """Volume, variant and ratio of every fit."""
    medical = [name for name in names if KINDS.get(name) in MEDICAL]
    biological = [name for name in names if name not in medical]
    if not full:
        sparse = [name for name in biological if name in KINDS]
        medical, biological = medical[:2], (sparse or biological)[:2]
    table: list[tuple[str, str, float]] = [(name, variant, MEDICAL_RATIO) for name in medical for variant in VARIANTS]
    table += [(name, variant, BIOLOGICAL_RATIO) for name in biological for variant in VARIANTS]
    return table + [(name, variant, ratio) for name in medical for ratio in CURVE_RATIOS for variant in CURVES]


def run(chunks: dict[str, NDArray], out: Path, *, full: bool, smoke: bool) -> None:
    """Write ablations.json."""
    rows = []
    settings = {"preset": "paper", "effort": "default" if full else "fast"} | ({"steps": 50} if smoke else {})
    wanted = cases(list(chunks), full)
    for k, (name, variant, ratio) in enumerate(wanted):
        chunk = chunks[name]
        for seed in range(2 if full else 1):
            codec = INRCodec(ratio=ratio, seed=seed, **settings | VARIANTS[variant])
            begin, processor = time.perf_counter(), time.process_time()
            stream = codec.encode(chunk)
            seconds, processor = time.perf_counter() - begin, time.process_time() - processor
            quality = measure(chunk, codec.decode(stream), thresholds(chunk))
            held = inspect(stream)
            rows.append({
                "volume": name, "variant": variant, "target_ratio": ratio, "seed": seed,
                "ratio": round(held.ratio, 2), "blocks": len(held.blocks), "parameters": held.parameters,
                "psnr": round(quality["psnr"], 3), "ssim": round(quality["ssim"], 5),
                "accuracy": {key: round(value, 5) for key, value in quality["accuracy"].items()},
                "encode_s": round(seconds, 2), "processor_s": round(processor, 2),
            })  # fmt: skip
            print(f"  {k + 1}/{len(wanted)} {name} {ratio}x {variant}: {held.psnr:.2f} dB, {seconds:.1f} s", flush=True)
    result = {"environment": environment(), "settings": settings, "variants": VARIANTS, "rows": rows}
    (out / "ablations.json").write_text(json.dumps(result, indent=1))
