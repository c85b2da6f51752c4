"""Each benchmark as its authors lay it out on disk; a module for each."""
