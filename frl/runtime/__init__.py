"""What a process and its machine give a run."""
