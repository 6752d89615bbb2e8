"""Pictures of results. matplotlib (extra `report`) is loaded when one is drawn, not before."""
