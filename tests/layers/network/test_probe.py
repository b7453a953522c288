"""What short fits say: which blocks, and how many parameters for each."""

import numpy as np
from samples import FAST

from inr_codec import INRCodec, inspect
from inr_codec.chunk.unit_chunk import UnitChunk
from inr_codec.config import Config
from inr_codec.layers.network.blocks import pack_block_tree
from inr_codec.layers.network.plan import plan_network
from inr_codec.layers.network.probe import measured_partition, measured_weights


def half_busy(shape: tuple[int, ...] = (16, 32, 32)) -> np.ndarray:
    """Waves in the half of small x, a slope in the other."""
    z, y, x = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    waves = 0.5 + 0.4 * np.sin(0.9 * z) * np.sin(0.8 * y + 0.5 * x)
    return np.where(x < shape[2] // 2, waves, 0.5 + 0.001 * x).astype(np.float32)


def test_blocks_with_detail_get_more_parameters() -> None:
    """The weights of the busy half are greater than those of the smooth half."""
    config = Config(ratio=20, partition="equal", max_blocks=8, **FAST)
    plan = plan_network(UnitChunk(half_busy()), 3000, config)
    weights = np.array(measured_weights(plan, list(range(8)), config))
    busy = np.array([block.offset[2] == 0 for block in plan.blocks])
    assert weights[busy].min() > 3 * weights[~busy].max()


def test_measured_blocks_are_a_partition() -> None:
    """The blocks cover the chunk once, in the order of the tree, at most as many as allowed."""
    chunk = UnitChunk(half_busy())
    blocks = measured_partition(chunk, 3000, Config(ratio=20, partition="measured", max_blocks=9, **FAST))
    pack_block_tree(blocks, chunk.unit.shape)  # raises for anything else
    assert 1 <= len(blocks) <= 9
    assert sum(block.size for block in blocks) == chunk.unit.size


def test_measured_partition_is_an_option_of_the_codec() -> None:
    """Streams of partition="measured" keep their budget; where no block can have a network, there is one block."""
    values = half_busy()
    for ratio, blocks in ((10, {1, 8, 15, 22, 29, 36}), (400, {1})):
        data = INRCodec(ratio=ratio, layers="network", partition="measured", **FAST).encode(values)
        assert len(data) <= values.nbytes / ratio
        assert len(inspect(data).blocks) in blocks
