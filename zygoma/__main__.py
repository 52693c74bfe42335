"""`python -m zygoma`: the same as the `zygoma` command."""

from zygoma.cli import main

if __name__ == "__main__":
    main()
