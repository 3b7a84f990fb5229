"""What every kind of transport has to do, and what it has to be good for: against each way to a store."""
