"""What a chunk of voxels is: its intensities, selections and boxes of it, voxel weights."""
