"""`make prove`: a load on the whole system, faults in it, and a check of every rule afterwards."""
