"""`model.fit`: `KerasCallback`."""
