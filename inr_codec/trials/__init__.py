"""What rates and efforts would do to a volume: a few typical parts of it are encoded, shown and compared."""
