"""Write and read what lies on disk, each file whole: runs, shards, tables."""
