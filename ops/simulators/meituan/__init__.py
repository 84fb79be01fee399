"""A simulated Meituan Waimai open platform, API v1: pull by day sequence, calls back, pushes."""
