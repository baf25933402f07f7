"""`python -m reversible` is `reversible`."""

from reversible.cli.main import main

if __name__ == "__main__":
    main()
