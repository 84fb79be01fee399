"""Where orders and facts come in: platforms' words, pull schedule, HTTP ingress."""
