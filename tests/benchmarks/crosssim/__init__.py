"""The same circuits in CrossSim, in nvmc and in a slow loop; see `study_crosssim.py`."""
