"""Many machines: shards of one data set as jobs of somebody else's scheduler, and their file."""
