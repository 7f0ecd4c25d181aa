"""Run by itself: a job's folder, its process and its log."""
