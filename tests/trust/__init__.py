"""What makes the figures of docs/TRUST.md: `make trust`."""
