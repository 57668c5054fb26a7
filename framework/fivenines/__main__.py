"""`python -m fivenines` is the `fivenines` command."""

from fivenines.cli import main

if __name__ == "__main__":
    main()
