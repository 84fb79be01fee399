"""`python -m ops` is `system2`, wherever the script is not installed."""

from ops.cli.main import main

if __name__ == "__main__":
    main()
