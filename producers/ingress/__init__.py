"""The HTTP ingress: verify, write down, publish, acknowledge; everything else happens later."""
