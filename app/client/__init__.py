"""The typed REST client over the contract, used by the command line, the platform and scripts."""
