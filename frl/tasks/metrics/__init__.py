"""What predictions are worth; nothing here knows a network or a file. One module a family of metrics."""
