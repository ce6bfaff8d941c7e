"""`python -m coordkit`: the same as the command `coordkit`."""

from coordkit.cli import main

if __name__ == "__main__":
    main()
