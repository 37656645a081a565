"""`python -m volly_fed`: the same as the `volly-fed` command."""

from volly_fed.cli import main

if __name__ == "__main__":
    main()
