"""From a recipe to finished work: planning, parcels, workers, Ray, the ledger, the account."""
