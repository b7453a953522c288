"""The residual layer (FORMAT.md, section 6): wavelet coefficients under a context model."""
