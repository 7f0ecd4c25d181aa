"""The Hub's HTTP: listing, locating, fetching with the token; one guarded client for all."""
