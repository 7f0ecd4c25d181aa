"""``python -m hfaria``."""

from hfaria.cli import main

if __name__ == "__main__":
    main()
