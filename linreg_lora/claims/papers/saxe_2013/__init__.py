"""Saxe, McClelland and Ganguli 2013: exact solutions of learning in deep linear networks."""
