"""Slices of the nuclei volume of examples/demo.py with masks, for train.py and benchmarks/studies/sinco.

    python examples/sinco/nuclei.py nuclei.npz

The volume is cut into four columns of 128 x 128 pixels, which count as subjects: a network is tested on a column that
it was not trained on. The masks are not experts': they are what is above Otsu's threshold of the whole volume after a
Gaussian of 1.5 pixels.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

PLANES = slice(22, 54)
"""Those that hold nuclei."""
SIDE = 128


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    from demo import nuclei

    from inr_codec.chunk.voxel_weights import otsu_threshold

    volume = nuclei()
    smooth = ndimage.gaussian_filter(volume.astype(np.float32), (0, 1.5, 1.5))
    masks = smooth > otsu_threshold(smooth.ravel())
    columns = [(slice(None), slice(y, y + SIDE), slice(x, x + SIDE)) for y in (0, SIDE) for x in (0, SIDE)]
    planes = len(volume[PLANES])
    np.savez_compressed(
        options.file,
        images=np.concatenate([volume[PLANES][column] for column in columns]),
        masks=np.concatenate([masks[PLANES][column] for column in columns]).astype(np.uint8),
        subject=np.repeat([f"column {k}" for k in range(len(columns))], planes),
    )


if __name__ == "__main__":
    main()
