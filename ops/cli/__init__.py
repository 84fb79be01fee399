"""The command line `system2`: data on stdout, talk on stderr, exit codes that scripts can use."""
