"""inr_codec: neural compression of scientific volumes, for numcodecs, zarr, dask and xarray."""
