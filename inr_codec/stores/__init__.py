"""Encoded arrays on disk, whoever wrote them: streams, shards, folders, attributes."""
