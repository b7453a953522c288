"""From layers to voxels: composing a stream, inspecting it, decoding on a GPU."""
