"""Wire the rooms together: short functions, one for each thing a user can ask for."""
