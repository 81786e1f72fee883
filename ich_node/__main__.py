"""`python -m ich_node` is the console script `ich-node`."""

from ich_node.cli.app import main

if __name__ == "__main__":
    main()
