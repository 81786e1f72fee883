"""`python -m ich_node` is the console script `ich-node`."""

from ich_node.cli.app import main

main()
