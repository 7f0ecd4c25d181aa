"""Tell: progress and messages on stderr, results on stdout. The only room that knows tqdm."""
