"""The command line: parse options, call one workflow, return an exit code."""
