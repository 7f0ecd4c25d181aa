"""What tests of the whole tool share: a user at a terminal, trees to compare, repos to pull."""
