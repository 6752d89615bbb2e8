// The whole library in one piece: each file alone would have pybind11's headers compiled again,
// which takes far longer than all the code here.
#include "graph.cpp"
#include "kernel.cpp"
#include "module.cpp"
#include "provider.cpp"
#include "python.cpp"
#include "tensor.cpp"
