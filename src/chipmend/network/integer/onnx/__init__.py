"""Integer networks for other people's runtimes."""
