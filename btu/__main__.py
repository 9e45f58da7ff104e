"""`python -m btu` is the console script `btu`."""

from btu.cli import main

if __name__ == "__main__":
    main()
