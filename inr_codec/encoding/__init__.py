"""From voxels to layers: which layers a chunk gets, and how many bytes each."""
