"""What `system2 check` compares, one file for each pair of books."""
