"""How the shipped models were made: for each one its data, its recipe, and what it has to be able to do."""
